"""What an export of training data could see when it began.

Revision ID: 0020
Revises: 0019
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("training_exports", sa.Column("snapshot", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("training_exports", "snapshot")
