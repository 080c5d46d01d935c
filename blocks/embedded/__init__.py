"""What runs on this machine when nothing is configured: Postgres, a chat model and an embedding model."""
