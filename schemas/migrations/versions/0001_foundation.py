"""The foundation: ledger, bills, and the old names as views.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LOWEST_ID_AT = """
CREATE FUNCTION lowest_id_at(moment timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    -- An identifier of version 7 begins with 48 bits of Unix milliseconds (RFC 9562, 5.7).
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$
"""

ENSURE_PARTITIONS = """
CREATE FUNCTION ensure_llm_request_partitions(months_ahead int DEFAULT 3) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
    partition text;
    created int := 0;
BEGIN
    FOR ahead IN 0..months_ahead LOOP
        partition := 'llm_requests_' || to_char(month, 'YYYY_MM');
        IF to_regclass(partition) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF llm_requests FOR VALUES FROM (%L) TO (%L)', partition,
                lowest_id_at(month AT TIME ZONE 'UTC'),
                lowest_id_at((month + interval '1 month') AT TIME ZONE 'UTC'));
            created := created + 1;
        END IF;
        month := month + interval '1 month';
    END LOOP;
    RETURN created;
END $$
"""

PIPELINE_RUNS = """
CREATE VIEW pipeline_runs WITH (security_invoker = true) AS
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
CREATE VIEW pipeline_steps WITH (security_invoker = true) AS
SELECT steps.id, steps.run_id, steps.name AS step, steps.model, steps.output,
       coalesce(steps.completed_at, steps.started_at) AS "timestamp"
FROM steps
JOIN runs ON runs.id = steps.run_id AND runs.flow = 'analyze-bill'
WHERE steps.name IN ('research', 'generate', 'review', 'refine')
"""

COST_TRACKING = """
CREATE VIEW cost_tracking WITH (security_invoker = true) AS
SELECT id,
       coalesce(answered_model, model) AS model,
       coalesce(purpose, kind) AS step,
       -- A call of unknown outcome counts at its worst case, as it does in the budget.
       (CASE status WHEN 'unknown' THEN reserved_usd ELSE cost_usd END)::numeric(10, 6) AS cost_usd,
       coalesce(input_tokens, 0) + coalesce(output_tokens, 0) AS tokens_used,
       created_at AS "timestamp",
       project
FROM llm_requests
WHERE status IN ('succeeded', 'failed', 'unknown')
"""


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    op.create_table(
        "bills",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("jurisdiction", sa.Text(), nullable=False),
        sa.Column("bill_id", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("text_sha256", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bills")),
        sa.UniqueConstraint(
            "jurisdiction",
            "bill_id",
            "session",
            "text_sha256",
            name=op.f("uq_bills_jurisdiction_bill_id_session_text_sha256"),
        ),
    )
    op.create_table(
        "budget_usage",
        sa.Column("scope_kind", sa.Text(), nullable=False),
        sa.Column("scope_id", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("reserved_usd", sa.Numeric(precision=20, scale=10), server_default="0", nullable=False),
        sa.Column("spent_usd", sa.Numeric(precision=20, scale=10), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("scope_kind", "scope_id", "period", "period_start", name=op.f("pk_budget_usage")),
    )
    op.create_table(
        "budgets",
        sa.Column("scope_kind", sa.Text(), nullable=False),
        sa.Column("scope_id", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("limit_usd", sa.Numeric(precision=20, scale=10), nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("period IN ('day', 'month', 'total')", name=op.f("ck_budgets_period")),
        sa.CheckConstraint("scope_kind IN ('project', 'user', 'run')", name=op.f("ck_budgets_scope_kind")),
        sa.CheckConstraint("limit_usd >= 0", name=op.f("ck_budgets_limit_not_negative")),
        sa.PrimaryKeyConstraint("scope_kind", "scope_id", "period", name=op.f("pk_budgets")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("flow", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("variant", sa.Text(), server_default="", nullable=False),
        sa.Column("status", sa.Text(), server_default="running", nullable=False),
        sa.Column("parameters", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("nonce", sa.Text(), nullable=True),
        sa.Column("progress", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("result", postgresql.JSONB(), nullable=True),
        sa.Column("error", postgresql.JSONB(), nullable=True),
        sa.Column("cost_usd", sa.Numeric(precision=20, scale=10), nullable=True),
        sa.Column("attempt_id", sa.Uuid(), nullable=True),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('running', 'completed', 'failed', 'cancelled', 'crashed')",
            name=op.f("ck_runs_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index("ix_runs_flow_subject", "runs", ["flow", "subject"], unique=False)
    op.create_index("ix_runs_project_started_at", "runs", ["project", "started_at"], unique=False)
    op.create_table(
        "workers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("process_started", sa.Float(precision=53), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "answers",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column(
            "claimed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('claimed', 'answered')", name=op.f("ck_answers_status")),
        sa.ForeignKeyConstraint(["worker_id"], ["workers.id"], name=op.f("fk_answers_worker_id")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_answers")),
    )
    op.create_index(
        "ix_answers_claimed_by", "answers", ["worker_id"], unique=False, postgresql_where="status = 'claimed'"
    )
    op.create_table(
        "bill_analyses",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("bill_id", sa.Uuid(), nullable=False),
        sa.Column("models", postgresql.JSONB(), nullable=False),
        sa.Column("research", postgresql.JSONB(), nullable=False),
        sa.Column("analysis", postgresql.JSONB(), nullable=False),
        sa.Column("review", postgresql.JSONB(), nullable=False),
        sa.Column("rounds", postgresql.JSONB(), nullable=False),
        sa.Column("coverage", postgresql.JSONB(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("quality_score", sa.Numeric(precision=5, scale=4), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "quality_score >= 0 AND quality_score <= 1", name=op.f("ck_bill_analyses_quality_score_range")
        ),
        sa.ForeignKeyConstraint(["bill_id"], ["bills.id"], name=op.f("fk_bill_analyses_bill_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_bill_analyses_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bill_analyses")),
        sa.UniqueConstraint("run_id", name=op.f("uq_bill_analyses_run_id")),
    )
    op.create_index(op.f("ix_bill_analyses_bill_id"), "bill_analyses", ["bill_id"], unique=False)
    op.create_table(
        "bill_sections",
        sa.Column("bill_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("heading", sa.Text(), nullable=True),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column(
            "words",
            postgresql.TSVECTOR(),
            sa.Computed("to_tsvector('english'::regconfig, left(text, 200000))", persisted=True),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["bill_id"], ["bills.id"], name=op.f("fk_bill_sections_bill_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("bill_id", "ordinal", name=op.f("pk_bill_sections")),
    )
    op.create_index("ix_bill_sections_words", "bill_sections", ["words"], unique=False, postgresql_using="gin")
    op.create_table(
        "run_attempts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("prefect_flow_run_id", sa.Uuid(), nullable=True),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_attempts_run_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["worker_id"], ["workers.id"], name=op.f("fk_run_attempts_worker_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_attempts")),
    )
    op.create_index(op.f("ix_run_attempts_prefect_flow_run_id"), "run_attempts", ["prefect_flow_run_id"], unique=False)
    op.create_index(op.f("ix_run_attempts_run_id"), "run_attempts", ["run_id"], unique=False)
    op.create_index(op.f("ix_run_attempts_worker_id"), "run_attempts", ["worker_id"], unique=False)
    op.create_table(
        "steps",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="running", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="1", nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("prompt_hash", sa.Text(), nullable=True),
        sa.Column("output", postgresql.JSONB(), nullable=True),
        sa.Column("error", postgresql.JSONB(), nullable=True),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('running', 'completed', 'failed')", name=op.f("ck_steps_status")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_steps_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_steps")),
        sa.UniqueConstraint("run_id", "key", name=op.f("uq_steps_run_id_key")),
    )
    op.create_table(
        "llm_requests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("step_id", sa.Uuid(), nullable=True),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("answer_key", sa.Text(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("answered_model", sa.Text(), nullable=True),
        sa.Column("request", postgresql.JSONB(), nullable=True),
        sa.Column("response", postgresql.JSONB(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("replayed_from", sa.Uuid(), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=True),
        sa.Column("output_tokens", sa.Integer(), nullable=True),
        sa.Column("cached_input_tokens", sa.Integer(), nullable=True),
        sa.Column("reasoning_tokens", sa.Integer(), nullable=True),
        sa.Column("reserved_usd", sa.Numeric(precision=20, scale=10), nullable=True),
        sa.Column("cost_usd", sa.Numeric(precision=20, scale=10), nullable=True),
        sa.Column("cost_source", sa.Text(), nullable=False),
        sa.Column("budget_scopes", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("latency_ms", sa.Integer(), nullable=True),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("provider_request_id", sa.Text(), nullable=True),
        sa.Column("context", postgresql.JSONB(), nullable=True),
        sa.Column("insight_type", sa.Text(), nullable=True),
        sa.Column("model_version", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "cost_source IN ('provider', 'price_table', 'local', 'unpriced')",
            name=op.f("ck_llm_requests_cost_source"),
        ),
        sa.CheckConstraint(
            "kind IN ('chat', 'embedding', 'image', 'search', 'rerank')", name=op.f("ck_llm_requests_kind")
        ),
        sa.CheckConstraint(
            "status IN ('reserved', 'succeeded', 'failed', 'unknown', 'replayed')",
            name=op.f("ck_llm_requests_status"),
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_llm_requests_run_id"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["step_id"], ["steps.id"], name=op.f("fk_llm_requests_step_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_requests")),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index("ix_llm_requests_answer_key", "llm_requests", ["answer_key"], unique=False)
    op.create_index(
        "ix_llm_requests_open",
        "llm_requests",
        ["worker_id"],
        unique=False,
        postgresql_where="status = 'reserved'",
    )
    op.create_index("ix_llm_requests_project_created_at", "llm_requests", ["project", "created_at"], unique=False)
    op.create_index("ix_llm_requests_run_id", "llm_requests", ["run_id"], unique=False)
    op.create_index("ix_llm_requests_user_id_id", "llm_requests", ["user_id", "id"], unique=False)
    op.create_table(
        "llm_bodies",
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=True),
        sa.Column("reply", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["request_id"], ["llm_requests.id"], name=op.f("fk_llm_bodies_request_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_llm_bodies")),
    )
    op.execute("CREATE TABLE llm_requests_default PARTITION OF llm_requests DEFAULT")
    op.execute(LOWEST_ID_AT)
    op.execute(ENSURE_PARTITIONS)
    op.execute("SELECT ensure_llm_request_partitions()")
    for view in (PIPELINE_RUNS, PIPELINE_STEPS, COST_TRACKING):
        op.execute(view)


def downgrade() -> None:
    for view in ("cost_tracking", "pipeline_steps", "pipeline_runs"):
        op.execute(f"DROP VIEW {view}")
    op.execute("DROP FUNCTION ensure_llm_request_partitions(int)")
    op.execute("DROP FUNCTION lowest_id_at(timestamptz)")
    op.drop_table("llm_bodies")
    op.drop_table("llm_requests")
    op.drop_table("steps")
    op.drop_table("run_attempts")
    op.drop_table("bill_sections")
    op.drop_table("bill_analyses")
    op.drop_table("answers")
    op.drop_table("workers")
    op.drop_table("runs")
    op.drop_table("budgets")
    op.drop_table("budget_usage")
    op.drop_table("bills")
