"""Alembic migrations: one head, each with its way back."""
