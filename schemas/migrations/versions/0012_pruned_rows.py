"""Whether a run changed a row or deleted it, so that a rollback knows a row that somebody deleted since.

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("migration_rows", sa.Column("pruned", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("migration_rows", "pruned")
