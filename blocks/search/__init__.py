"""Search of the web: z.ai and the search providers that LiteLLM knows, behind one interface."""
