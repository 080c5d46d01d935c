"""Rows of older applications among our runs, steps and searches, and their tables' names over them.

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

# The ids that the keyword service gave are those its applications know.
LEXYBRAIN_REQUESTS = """
CREATE OR REPLACE VIEW lexybrain_requests WITH (security_invoker = true) AS
SELECT coalesce((calls.attributes ->> 'lexybrain_request_id')::uuid, calls.id) AS id,
       calls.user_id,
       asked.prompt,
       coalesce(calls.context, '{}') AS context_json,
       calls.created_at AS requested_at,
       calls.insight_type,
       coalesce(calls.attributes ->> 'market', calls.context ->> 'market') AS market,
       asked.niche_terms
FROM llm_requests AS calls
CROSS JOIN LATERAL (
    SELECT coalesce((
               SELECT string_agg(turn ->> 'content', E'\\n\\n' ORDER BY place)
               FROM jsonb_array_elements(CASE jsonb_typeof(calls.request -> 'messages')
                    WHEN 'array' THEN calls.request -> 'messages' END) WITH ORDINALITY AS turns(turn, place)
           ), '') AS prompt,
           CASE jsonb_typeof(coalesce(calls.attributes -> 'niche_terms', calls.context -> 'niche_terms'))
               WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(
                    coalesce(calls.attributes -> 'niche_terms', calls.context -> 'niche_terms')))
           END AS niche_terms
) AS asked
WHERE calls.kind = 'chat' AND (calls.insight_type IS NOT NULL OR calls.project = 'lexybrain')
    AND calls.status <> 'replayed'
"""

LEXYBRAIN_RESPONSES = """
CREATE OR REPLACE VIEW lexybrain_responses WITH (security_invoker = true) AS
SELECT coalesce((calls.attributes ->> 'lexybrain_response_id')::uuid, calls.id) AS id,
       coalesce((calls.attributes ->> 'lexybrain_request_id')::uuid, calls.id) AS request_id,
       coalesce(calls.answered_model, calls.model) AS model_name,
       answered.output_json,
       coalesce(calls.completed_at, calls.created_at) AS generated_at,
       calls.latency_ms,
       calls.status = 'succeeded' AS success,
       calls.input_tokens AS tokens_in,
       calls.output_tokens AS tokens_out
FROM llm_requests AS calls
CROSS JOIN LATERAL (SELECT answer_as_json(calls.response ->> 'content') AS output_json) AS answered
WHERE calls.kind = 'chat' AND (calls.insight_type IS NOT NULL OR calls.project = 'lexybrain')
    AND calls.status IN ('succeeded', 'failed', 'unknown')
    -- A request that was migrated without a response has none.
    AND (NOT coalesce(calls.attributes, '{}') ? 'lexybrain_request_id' OR calls.attributes ? 'lexybrain_response_id')
"""

LEXYBRAIN_FEEDBACK = """
CREATE OR REPLACE VIEW lexybrain_feedback WITH (security_invoker = true) AS
SELECT coalesce((feedback.attributes ->> 'lexybrain_feedback_id')::uuid, feedback.id) AS id,
       coalesce((calls.attributes ->> 'lexybrain_response_id')::uuid, calls.replayed_from, calls.id) AS response_id,
       feedback.user_id,
       feedback.rating AS feedback,
       feedback.notes,
       feedback.created_at
FROM feedback
JOIN llm_requests AS calls ON calls.id = feedback.response_id
WHERE calls.kind = 'chat' AND (calls.insight_type IS NOT NULL OR calls.project = 'lexybrain')
"""

LEXYBRAIN_REQUESTS_BEFORE = """
CREATE OR REPLACE VIEW lexybrain_requests WITH (security_invoker = true) AS
SELECT calls.id,
       calls.user_id,
       asked.prompt,
       coalesce(calls.context, '{}') AS context_json,
       calls.created_at AS requested_at,
       calls.insight_type,
       calls.context ->> 'market' AS market,
       asked.niche_terms
FROM llm_requests AS calls
CROSS JOIN LATERAL (
    SELECT coalesce((
               SELECT string_agg(turn ->> 'content', E'\\n\\n' ORDER BY place)
               FROM jsonb_array_elements(CASE jsonb_typeof(calls.request -> 'messages')
                    WHEN 'array' THEN calls.request -> 'messages' END) WITH ORDINALITY AS turns(turn, place)
           ), '') AS prompt,
           CASE jsonb_typeof(calls.context -> 'niche_terms')
               WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(calls.context -> 'niche_terms'))
           END AS niche_terms
) AS asked
WHERE calls.kind = 'chat' AND (calls.insight_type IS NOT NULL OR calls.project = 'lexybrain')
    AND calls.status <> 'replayed'
"""

LEXYBRAIN_RESPONSES_BEFORE = """
CREATE OR REPLACE VIEW lexybrain_responses WITH (security_invoker = true) AS
SELECT calls.id,
       calls.id AS request_id,
       coalesce(calls.answered_model, calls.model) AS model_name,
       answered.output_json,
       coalesce(calls.completed_at, calls.created_at) AS generated_at,
       calls.latency_ms,
       calls.status = 'succeeded' AS success,
       calls.input_tokens AS tokens_in,
       calls.output_tokens AS tokens_out
FROM llm_requests AS calls
CROSS JOIN LATERAL (SELECT answer_as_json(calls.response ->> 'content') AS output_json) AS answered
WHERE calls.kind = 'chat' AND (calls.insight_type IS NOT NULL OR calls.project = 'lexybrain')
    AND calls.status IN ('succeeded', 'failed', 'unknown')
"""

LEXYBRAIN_FEEDBACK_BEFORE = """
CREATE OR REPLACE VIEW lexybrain_feedback WITH (security_invoker = true) AS
SELECT feedback.id,
       coalesce(calls.replayed_from, calls.id) AS response_id,
       feedback.user_id,
       feedback.rating AS feedback,
       feedback.notes,
       feedback.created_at
FROM feedback
JOIN llm_requests AS calls ON calls.id = feedback.response_id
WHERE calls.kind = 'chat' AND (calls.insight_type IS NOT NULL OR calls.project = 'lexybrain')
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
    for view in (LEXYBRAIN_REQUESTS, LEXYBRAIN_RESPONSES, LEXYBRAIN_FEEDBACK, CONVERSATIONS):
        op.execute(view)
    op.execute("SELECT grant_headrace_roles()")


def downgrade() -> None:
    op.execute("DROP VIEW conversations")
    for view in (LEXYBRAIN_REQUESTS_BEFORE, LEXYBRAIN_RESPONSES_BEFORE, LEXYBRAIN_FEEDBACK_BEFORE):
        op.execute(view)
    op.execute(PIPELINE_STEPS.format(""))
    op.execute(PIPELINE_RUNS_BEFORE)
    op.drop_index(op.f("ix_runs_started_at"), table_name="runs")
    for table in MIGRATED:
        op.execute(f"DELETE FROM {table} WHERE source IS NOT NULL")  # they would pass for rows of our own
    op.alter_column("web_search_cache", "request_id", existing_type=sa.Uuid(), nullable=False)
    op.drop_constraint(op.f("uq_web_search_cache_id"), "web_search_cache", type_="unique")
    op.drop_column("web_search_cache", "id")
    for table in MIGRATED:
        for name in ("migration_run_id", "content_hash", "source", "attributes"):
            op.drop_column(table, name)
