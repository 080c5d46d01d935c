"""Bodies are deflated before they are stored: Postgres no longer tries to compress them again.

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

DEFLATED = ("request", "response", "reply")


def upgrade() -> None:
    _store_as("EXTERNAL")


def downgrade() -> None:
    _store_as("EXTENDED")


def _store_as(storage: str) -> None:
    changes = ", ".join(f"ALTER COLUMN {column} SET STORAGE {storage}" for column in DEFLATED)
    op.execute(f"ALTER TABLE llm_bodies {changes}")
