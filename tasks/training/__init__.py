"""Training files made of calls and of what people thought of their answers."""
