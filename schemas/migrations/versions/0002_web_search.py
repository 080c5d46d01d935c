"""The cache of web searches and its cleaning, under their old names.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CLEANUP_SEARCH_CACHE = """
CREATE FUNCTION cleanup_search_cache() RETURNS int
LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM web_search_cache WHERE expires_at <= clock_timestamp() RETURNING 1)
    SELECT count(*)::int FROM gone
$$
"""


def upgrade() -> None:
    op.create_table(
        "web_search_cache",
        sa.Column("cache_key", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("results", postgresql.JSONB(), nullable=False),
        sa.Column(
            "cached_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("hit_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("domains", postgresql.JSONB(), nullable=False),
        sa.Column("recency", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"], ["llm_requests.id"], name=op.f("fk_web_search_cache_request_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("cache_key", name=op.f("pk_web_search_cache")),
    )
    op.create_index(op.f("ix_web_search_cache_request_id"), "web_search_cache", ["request_id"], unique=False)
    op.create_index(op.f("ix_web_search_cache_expires_at"), "web_search_cache", ["expires_at"], unique=False)
    op.execute(CLEANUP_SEARCH_CACHE)


def downgrade() -> None:
    op.execute("DROP FUNCTION cleanup_search_cache()")
    op.drop_table("web_search_cache")
