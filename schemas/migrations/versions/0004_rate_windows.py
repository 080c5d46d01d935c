"""Requests of users in the last minute.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rate_windows",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("admitted", postgresql.ARRAY(sa.DateTime(timezone=True)), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_rate_windows")),
    )
    op.execute("SELECT isolate_rows('rate_windows', 'user_id = headrace_user()')")
    op.execute("SELECT grant_headrace_roles()")


def downgrade() -> None:
    op.drop_table("rate_windows")
