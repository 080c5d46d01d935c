"""Verdicts of a judge on pairs of responses.

Revision ID: 0019
Revises: 0018
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

VERDICTS = "IN ('first', 'second', 'tie')"


def upgrade() -> None:
    op.create_table(
        "judge_verdicts",
        sa.Column("experiment_id", sa.Text(), nullable=False),
        sa.Column("analysis_version", sa.Text(), nullable=False),
        sa.Column("first_id", sa.Text(), nullable=False),
        sa.Column("second_id", sa.Text(), nullable=False),
        sa.Column("forward", sa.Text(), nullable=True),
        sa.Column("backward", sa.Text(), nullable=True),
        sa.Column("forward_request_id", sa.Uuid(), nullable=True),
        sa.Column("backward_request_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(f"forward {VERDICTS}", name=op.f("ck_judge_verdicts_forward")),
        sa.CheckConstraint(f"backward {VERDICTS}", name=op.f("ck_judge_verdicts_backward")),
        _key("experiment_id", "experiments.id"),
        _key("first_id", "responses.id"),
        _key("second_id", "responses.id"),
        sa.PrimaryKeyConstraint(
            "experiment_id", "analysis_version", "first_id", "second_id", name=op.f("pk_judge_verdicts")
        ),
    )
    for column in ("first_id", "second_id"):
        op.create_index(f"ix_judge_verdicts_{column}", "judge_verdicts", [column], unique=False)
    op.execute("SELECT grant_headrace_roles()")


def _key(column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [to], name=op.f(f"fk_judge_verdicts_{column}"), ondelete="CASCADE")


def downgrade() -> None:
    op.drop_table("judge_verdicts")
