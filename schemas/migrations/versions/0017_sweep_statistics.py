"""What is concluded from experiments: analyses, insights by parameter, sums by day.

Revision ID: 0017
Revises: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TABLES = ("sweep_analyses", "parameter_insights", "quality_analytics")


def upgrade() -> None:
    op.create_table(
        "sweep_analyses",
        *_experiment("sweep_analyses"),
        sa.Column("analysis", postgresql.JSONB(), nullable=False),
        _created_at(),
        sa.PrimaryKeyConstraint("experiment_id", "analysis_version", name=op.f("pk_sweep_analyses")),
    )
    op.create_table(
        "parameter_insights",
        sa.Column("id", sa.Uuid(), nullable=False),
        *_experiment("parameter_insights"),
        sa.Column("parameter", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("sample_size", sa.Integer(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("responses", sa.Integer(), nullable=False),
        *_doubles("p_value", "p_adjusted"),
        sa.Column("significant", sa.Boolean(), nullable=False),
        *_doubles("pearson", "pearson_low", "pearson_high", "pearson_p_adjusted", "spearman", "spearman_p_adjusted"),
        sa.Column("strength", sa.Text(), nullable=True),
        sa.Column("best_value", sa.Text(), nullable=True),
        *_doubles("best_mean", "best_low", "best_high", "best_probability"),
        sa.Column("recommended", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("difference", sa.Float(precision=53), nullable=False),
        sa.Column("more_responses", sa.Integer(), nullable=True),
        sa.Column("sentence", sa.Text(), nullable=False),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_parameter_insights")),
        sa.UniqueConstraint(
            "experiment_id",
            "analysis_version",
            "parameter",
            "metric",
            name="uq_parameter_insights_insight",
        ),
    )
    op.create_table(
        "quality_analytics",
        sa.Column("id", sa.Uuid(), nullable=False),
        *_experiment("quality_analytics"),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("responses", sa.Integer(), nullable=False),
        sa.Column("mean", sa.Float(precision=53), nullable=False),
        *_doubles("deviation"),
        sa.Column("lowest", sa.Float(precision=53), nullable=False),
        sa.Column("highest", sa.Float(precision=53), nullable=False),
        sa.Column("cost_usd", sa.Numeric(20, 10), nullable=True),
        *_doubles("latency_ms"),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quality_analytics")),
        sa.UniqueConstraint(
            "experiment_id",
            "analysis_version",
            "day",
            "model",
            "metric",
            name="uq_quality_analytics_sums",
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index("ix_quality_analytics_day", "quality_analytics", ["day"], unique=False)
    op.execute("SELECT grant_headrace_roles()")


def _experiment(table: str) -> tuple[sa.schema.SchemaItem, ...]:
    return (
        sa.Column("experiment_id", sa.Text(), nullable=False),
        sa.Column("analysis_version", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name=op.f(f"fk_{table}_experiment_id"), ondelete="CASCADE"
        ),
    )


def _doubles(*names: str) -> tuple[sa.Column[float], ...]:
    return tuple(sa.Column(name, sa.Float(precision=53), nullable=True) for name in names)


def _created_at() -> sa.Column[object]:
    return sa.Column(
        "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
