"""Runs, steps and searches of older applications among ours, and their tables' names over them.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MIGRATED = ("runs", "steps", "web_search_cache")

# A run that was migrated has no bill here: what is known of it came with it.
PIPELINE_RUNS = """
CREATE OR REPLACE VIEW pipeline_runs WITH (security_invoker = true) AS
SELECT runs.id,
       coalesce(bills.bill_id, older.bill_id) AS bill_id,
       coalesce(bills.jurisdiction, older.jurisdiction) AS jurisdiction,
       runs.parameters #>> '{models,research}' AS research_model,
       runs.parameters #>> '{models,generate}' AS generate_model,
       runs.parameters #>> '{models,review}' AS review_model,
       CASE runs.status WHEN 'cancelled' THEN 'failed' WHEN 'crashed' THEN 'failed' ELSE runs.status END AS status,
       runs.started_at,
       runs.completed_at,
       coalesce(bill_analyses.analysis, older.analysis) AS analysis_json,
       coalesce(bill_analyses.review, older.review) AS review_json,
       coalesce(bill_analyses.passed, older.passed) AS review_passed,
       coalesce(bill_analyses.quality_score, older.quality_score)::numeric(3, 2) AS quality_score,
       runs.error ->> 'message' AS error_message
FROM runs
LEFT JOIN bill_analyses ON bill_analyses.run_id = runs.id
LEFT JOIN bills ON bills.id = bill_analyses.bill_id
LEFT JOIN LATERAL (
    SELECT runs.subject AS bill_id, runs.parameters ->> 'jurisdiction' AS jurisdiction,
           runs.result -> 'analysis' AS analysis, runs.result -> 'review' AS review,
           (runs.result ->> 'passed')::boolean AS passed, (runs.result ->> 'quality_score')::numeric AS quality_score
    WHERE runs.source IS NOT NULL
) AS older ON true
WHERE runs.flow = 'analyze-bill'
"""

PIPELINE_RUNS_BEFORE = """
CREATE OR REPLACE VIEW pipeline_runs WITH (security_invoker = true) AS
SELECT runs.id,
       bills.bill_id,
       bills.jurisdiction,
       runs.parameters #>> '{models,research}' AS research_model,
       runs.parameters #>> '{models,generate}' AS generate_model,
       runs.parameters #>> '{models,review}' AS review_model,
       CASE runs.status WHEN 'cancelled' THEN 'failed' WHEN 'crashed' THEN 'failed' ELSE runs.status END AS status,
       runs.started_at,
       runs.completed_at,
       bill_analyses.analysis AS analysis_json,
       bill_analyses.review AS review_json,
       bill_analyses.passed AS review_passed,
       bill_analyses.quality_score::numeric(3, 2) AS quality_score,
       runs.error ->> 'message' AS error_message
FROM runs
LEFT JOIN bill_analyses ON bill_analyses.run_id = runs.id
LEFT JOIN bills ON bills.id = bill_analyses.bill_id
WHERE runs.flow = 'analyze-bill'
"""

PIPELINE_STEPS = """
CREATE OR REPLACE VIEW pipeline_steps WITH (security_invoker = true) AS
SELECT steps.id, steps.run_id, steps.name AS step, steps.model, steps.output,
       coalesce(steps.completed_at, steps.started_at) AS "timestamp"
FROM steps
JOIN runs ON runs.id = steps.run_id AND runs.flow = 'analyze-bill'
WHERE steps.name IN ('research', 'generate', 'review', 'refine'){}
"""

CONVERSATIONS = """
CREATE VIEW conversations WITH (security_invoker = true) AS
SELECT messages.id, talks.user_id, messages.role, messages.content, messages.created_at AS "timestamp",
       talks.attributes ->> 'page' AS page
FROM ai_messages AS messages
JOIN ai_conversations AS talks ON talks.id = messages.conversation_id
WHERE talks.attributes ? 'page'
"""


def upgrade() -> None:
    for table in MIGRATED:
        op.add_column(table, sa.Column("attributes", postgresql.JSONB(), nullable=True))
        op.add_column(table, sa.Column("source", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("content_hash", sa.BigInteger(), nullable=True))
        op.add_column(table, sa.Column("migration_run_id", sa.Uuid(), nullable=True))
    op.add_column("web_search_cache", sa.Column("id", sa.Text(), nullable=True))
    op.create_unique_constraint(op.f("uq_web_search_cache_id"), "web_search_cache", ["id"])
    op.alter_column("web_search_cache", "request_id", existing_type=sa.Uuid(), nullable=True)
    op.create_index(op.f("ix_runs_started_at"), "runs", ["started_at"], unique=False)
    op.execute(PIPELINE_RUNS)
    op.execute(PIPELINE_STEPS.format(" OR steps.source IS NOT NULL"))
    op.execute(CONVERSATIONS)
    op.execute("SELECT grant_headrace_roles()")


def downgrade() -> None:
    op.execute("DROP VIEW conversations")
    op.execute(PIPELINE_STEPS.format(""))
    op.execute(PIPELINE_RUNS_BEFORE)
    op.drop_index(op.f("ix_runs_started_at"), table_name="runs")
    op.execute("DELETE FROM web_search_cache WHERE request_id IS NULL")
    op.alter_column("web_search_cache", "request_id", existing_type=sa.Uuid(), nullable=False)
    op.drop_constraint(op.f("uq_web_search_cache_id"), "web_search_cache", type_="unique")
    op.drop_column("web_search_cache", "id")
    for table in MIGRATED:
        for name in ("migration_run_id", "content_hash", "source", "attributes"):
            op.drop_column(table, name)
