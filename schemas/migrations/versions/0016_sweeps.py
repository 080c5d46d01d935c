"""What a sweep is asked and what comes of it, and the batches as the older laboratory's queries name them.

Revision ID: 0016
Revises: 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def of_experiments() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("project", sa.Text(), nullable=True),
        sa.Column("spec", postgresql.JSONB(), nullable=True),
        sa.Column("total_combinations", sa.Integer(), nullable=True),
        sa.Column("total_calls", sa.Integer(), nullable=True),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("is_favourite", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
    )


def of_responses() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("status", sa.Text(), server_default="succeeded", nullable=False),
        sa.Column("system_prompt", sa.Text(), nullable=True),
        sa.Column("combination_key", sa.Text(), nullable=True),
        sa.Column("repetition", sa.Integer(), nullable=True),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("cost_usd", sa.Numeric(20, 10), nullable=True),
        sa.Column("replayed", sa.Boolean(), nullable=True),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
    )


# Scores of the old batches are shown from 0 to 100; one combination counts as done when all its repetitions are.
BATCHES = """
CREATE VIEW batch_experiments WITH (security_invoker = true) AS
SELECT experiments.id, name, description, prompt, model, spec -> 'parameter_ranges' AS parameter_ranges, response_count,
       CASE WHEN status = 'cancelled' THEN 'failed' ELSE status END AS status, total_combinations,
       least(total_combinations, coalesce(done.responses / greatest(response_count, 1), 0)) AS completed_combinations,
       done.cost_usd AS total_cost, error_message, created_at, updated_at, completed_at
FROM experiments LEFT JOIN LATERAL (
    SELECT count(*)::int AS responses, sum(cost_usd) AS cost_usd FROM responses WHERE experiment_id = experiments.id
) AS done ON true
WHERE spec IS NOT NULL
"""
RESULTS = """
CREATE VIEW batch_results WITH (security_invoker = true) AS
SELECT responses.id, experiment_id AS batch_experiment_id, responses.model, temperature, top_p, responses.max_tokens,
       frequency_penalty, presence_penalty, content AS response, 100 * scores.overall AS overall_score,
       100 * scores.coherence AS coherence, 100 * scores.completeness AS completeness,
       100 * scores.readability AS readability, 100 * scores.length_appropriateness AS length_appropriateness,
       100 * scores.creativity AS creativity, 100 * scores.specificity AS specificity,
       input_tokens AS prompt_tokens, output_tokens AS completion_tokens, total_tokens, cost_usd AS cost, latency_ms,
       responses.error_message AS error, responses.created_at
FROM responses JOIN experiments ON experiments.id = experiment_id AND spec IS NOT NULL
LEFT JOIN LATERAL (
    SELECT max(score) FILTER (WHERE metric = 'overall') AS overall,
           max(score) FILTER (WHERE metric = 'coherence') AS coherence,
           max(score) FILTER (WHERE metric = 'completeness') AS completeness,
           max(score) FILTER (WHERE metric = 'readability') AS readability,
           max(score) FILTER (WHERE metric = 'length_appropriateness') AS length_appropriateness,
           max(score) FILTER (WHERE metric = 'creativity') AS creativity,
           max(score) FILTER (WHERE metric = 'specificity') AS specificity
    FROM quality_metrics WHERE response_id = responses.id AND analysis_version = 'headrace-1'
) AS scores ON true
"""


def upgrade() -> None:
    for column in of_experiments():
        op.add_column("experiments", column)
    op.create_index(op.f("ix_experiments_run_id"), "experiments", ["run_id"], unique=False)
    op.create_index("ix_experiments_tags", "experiments", ["tags"], unique=False, postgresql_using="gin")
    for column in of_responses():
        op.add_column("responses", column)
    op.alter_column("responses", "content", nullable=True)
    op.create_check_constraint(op.f("ck_responses_status"), "responses", "status IN ('succeeded', 'failed')")
    op.create_check_constraint(
        op.f("ck_responses_content"), "responses", "content IS NOT NULL OR error_class IS NOT NULL"
    )
    op.create_index(op.f("ix_responses_request_id"), "responses", ["request_id"], unique=False)
    op.create_index(
        "uq_responses_cell",
        "responses",
        ["experiment_id", "combination_key", "repetition"],
        unique=True,
        postgresql_where=sa.text("combination_key IS NOT NULL"),
    )
    op.execute(BATCHES)
    op.execute(RESULTS)
    op.execute("SELECT grant_headrace_roles()")


def downgrade() -> None:
    op.execute("DROP VIEW batch_results")
    op.execute("DROP VIEW batch_experiments")
    op.drop_index("uq_responses_cell", table_name="responses")
    op.drop_index(op.f("ix_responses_request_id"), table_name="responses")
    op.drop_constraint(op.f("ck_responses_content"), "responses")
    op.drop_constraint(op.f("ck_responses_status"), "responses")
    # Failed calls have no content, and where there was none there was no row.
    op.execute("DELETE FROM quality_metrics USING responses WHERE response_id = responses.id AND content IS NULL")
    op.execute("DELETE FROM responses WHERE content IS NULL")
    op.alter_column("responses", "content", nullable=False)
    for column in reversed(of_responses()):
        op.drop_column("responses", column.name)
    op.drop_index("ix_experiments_tags", table_name="experiments")
    op.drop_index(op.f("ix_experiments_run_id"), table_name="experiments")
    for column in reversed(of_experiments()):
        op.drop_column("experiments", column.name)
