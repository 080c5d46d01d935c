"""Alembic's entry: runs the migrations over the connection the caller hands in.

A transaction-level advisory lock lets several commands meet an old schema at once: one migrates, the
others wait and find it done.
"""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import Connection, text

from schemas.tables import Base

MIGRATION_LOCK = 0x48454144  # "HEAD"


def is_ours(item: Any, name: str | None, kind: str, _: bool, __: Any) -> bool:
    """False for what is made at run time: monthly partitions, the keys that point at them, indexes of generations."""
    if kind == "table":
        return not (name or "").startswith("llm_requests_")
    if kind == "index":
        return not (name or "").startswith("headrace_hnsw_")
    if kind == "foreign_key_constraint":
        return not any(key.target_fullname.startswith("llm_requests_") for key in item.elements)
    return True


def run(connection: Connection) -> None:
    """Migrate in one transaction, under the lock."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_object=is_ours,
        compare_server_default=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        context.run_migrations()


run(context.config.attributes["connection"])
