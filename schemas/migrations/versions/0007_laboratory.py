"""The laboratory's tables, and where calls and feedback came from.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = ("experiments", "responses", "quality_metrics")
ALSO_MIGRATED = ("llm_requests", "feedback")
BOOKKEEPING = ("source", "content_hash", "migration_run_id")


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        *(
            sa.Column(f"{parameter}_{bound}", sa.Float(precision=53), nullable=True)
            for parameter, bounds in (
                ("temperature", ("min", "max", "step")),
                ("top_p", ("min", "max", "step")),
                ("frequency_penalty", ("min", "max")),
                ("presence_penalty", ("min", "max")),
            )
            for bound in bounds
        ),
        sa.Column("max_tokens", sa.Integer(), nullable=True),
        sa.Column("response_count", sa.Integer(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        *_kept(),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'completed', 'failed', 'cancelled')", name=op.f("ck_experiments_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
    )
    op.create_index("ix_experiments_created_at", "experiments", ["created_at"], unique=False)
    op.create_table(
        "responses",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment_id", sa.Text(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("temperature", sa.Float(precision=53), nullable=True),
        sa.Column("top_p", sa.Float(precision=53), nullable=True),
        sa.Column("frequency_penalty", sa.Float(precision=53), nullable=True),
        sa.Column("presence_penalty", sa.Float(precision=53), nullable=True),
        sa.Column("max_tokens", sa.Integer(), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=True),
        sa.Column("output_tokens", sa.Integer(), nullable=True),
        sa.Column("total_tokens", sa.Integer(), nullable=True),
        sa.Column("latency_ms", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *_kept(),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.id"], name=op.f("fk_responses_experiment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_responses")),
    )
    op.create_index(op.f("ix_responses_experiment_id"), "responses", ["experiment_id"], unique=False)
    op.create_table(
        "quality_metrics",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("response_id", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("score", sa.Float(precision=53), nullable=False),
        sa.Column("analysis_version", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        *_kept(),
        sa.CheckConstraint("score BETWEEN 0 AND 1", name=op.f("ck_quality_metrics_score_range")),
        sa.ForeignKeyConstraint(["response_id"], ["responses.id"], name=op.f("fk_quality_metrics_response_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quality_metrics")),
    )
    op.create_index(op.f("ix_quality_metrics_response_id"), "quality_metrics", ["response_id"], unique=False)
    op.create_index(
        "ix_quality_metrics_metric_analysis_version", "quality_metrics", ["metric", "analysis_version"], unique=False
    )
    for table in ALSO_MIGRATED:
        op.add_column(table, sa.Column("attributes", postgresql.JSONB(), nullable=True))
        op.add_column(table, sa.Column("source", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("content_hash", sa.BigInteger(), nullable=True))
        op.add_column(table, sa.Column("migration_run_id", sa.Uuid(), nullable=True))
    op.execute("SELECT grant_headrace_roles()")


def _kept() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("attributes", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.BigInteger(), nullable=True),
        sa.Column("migration_run_id", sa.Uuid(), nullable=True),
    )


def downgrade() -> None:
    for table in ALSO_MIGRATED:
        op.execute(f"DELETE FROM {table} WHERE source IS NOT NULL")  # they would pass for calls of our own
        for name in (*BOOKKEEPING, "attributes"):
            op.drop_column(table, name)
    for table in reversed(TABLES):
        op.drop_table(table)
