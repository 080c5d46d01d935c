"""Feedback with categories and a correction, and exports of training data.

Revision ID: 0018
Revises: 0017
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("feedback", sa.Column("categories", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False))
    op.add_column("feedback", sa.Column("correction", sa.Text(), nullable=True))
    op.create_index("ix_feedback_user_id_updated_at", "feedback", ["user_id", "updated_at"], unique=False)
    op.create_table(
        "training_exports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("options", postgresql.JSONB(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text(), server_default="running", nullable=False),
        sa.Column("manifest", postgresql.JSONB(), nullable=True),
        sa.Column("manifest_sha256", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('running', 'completed')", name=op.f("ck_training_exports_status")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_training_exports_run_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_exports")),
    )
    op.create_index(op.f("ix_training_exports_run_id"), "training_exports", ["run_id"], unique=False)
    op.execute("SELECT grant_headrace_roles()")


def downgrade() -> None:
    op.drop_index(op.f("ix_training_exports_run_id"), table_name="training_exports")
    op.drop_table("training_exports")
    op.drop_index("ix_feedback_user_id_updated_at", table_name="feedback")
    op.drop_column("feedback", "correction")
    op.drop_column("feedback", "categories")
