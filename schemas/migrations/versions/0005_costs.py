"""Costs: soft limits, what replays saved, and the older cost queries as functions.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MONEY = sa.Numeric(precision=20, scale=10)

# Exact: a price of a millionth of a dollar a token leaves less than that on a row, which must not be lost in a sum.
COST_TRACKING = """
CREATE VIEW cost_tracking WITH (security_invoker = true) AS
SELECT id,
       coalesce(answered_model, model) AS model,
       coalesce(purpose, kind) AS step,
       -- A call of unknown outcome or cost counts at its worst case, as it does in the budget; NULL: no price is known.
       coalesce(cost_usd, reserved_usd) AS cost_usd,
       coalesce(input_tokens, 0) + coalesce(output_tokens, 0) AS tokens_used,
       created_at AS "timestamp",
       project
FROM llm_requests
WHERE status IN ('succeeded', 'failed', 'unknown')
"""

COST_TRACKING_BEFORE = """
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

# An id is made before its row, perhaps long before, and by another clock: a day of slack still spares the other months.
COSTS_BETWEEN = """
CREATE FUNCTION costs_between(from_moment timestamptz, to_moment timestamptz)
RETURNS TABLE(model text, step text, cost_usd numeric, project text) LANGUAGE sql STABLE AS $$
    SELECT calls.model, calls.step, calls.cost_usd, calls.project FROM cost_tracking AS calls
    WHERE calls.id >= lowest_id_at(from_moment - interval '1 day')
      AND calls.id < lowest_id_at(to_moment + interval '1 day')
      AND calls."timestamp" >= from_moment AND calls."timestamp" < to_moment
$$
"""

# Days are those of the session's time zone. Without calls 0; where no price is known, NULL, which is not 0.
DAILY_COST = """
CREATE FUNCTION get_daily_cost(target_date date) RETURNS TABLE(total_cost numeric) LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN count(*) = 0 THEN 0 ELSE sum(calls.cost_usd) END
    FROM costs_between(target_date::timestamptz, (target_date + 1)::timestamptz) AS calls
$$
"""

MONTHLY_COST = """
CREATE FUNCTION get_monthly_cost(target_year int, target_month int)
RETURNS TABLE(total_cost numeric) LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN count(*) = 0 THEN 0 ELSE sum(calls.cost_usd) END
    FROM costs_between(
        make_date(target_year, target_month, 1)::timestamptz,
        (make_date(target_year, target_month, 1) + interval '1 month')::date::timestamptz) AS calls
$$
"""

COST_BREAKDOWN = """
CREATE FUNCTION get_cost_breakdown(start_date date, end_date date, group_by text)
RETURNS TABLE(group_key text, total_cost numeric) LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF group_by IS NULL OR group_by NOT IN ('model', 'step', 'project') THEN
        RAISE EXCEPTION 'group_by is %, but model, step or project is meant', coalesce(quote_literal(group_by), 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY
    SELECT CASE group_by WHEN 'model' THEN calls.model WHEN 'step' THEN calls.step ELSE calls.project END,
           sum(calls.cost_usd)
    FROM costs_between(start_date::timestamptz, (end_date + 1)::timestamptz) AS calls
    GROUP BY 1 ORDER BY 2 DESC NULLS LAST, 1;
END $$
"""

COMPARE_MODELS = """
CREATE FUNCTION compare_models(start_date date, end_date date, step text)
RETURNS TABLE(model text, avg_quality numeric, total_runs bigint, pass_rate numeric) LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF step IS NULL OR step NOT IN ('research', 'generate', 'review') THEN
        RAISE EXCEPTION 'step is %, but research, generate or review is meant', coalesce(quote_literal(step), 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY
    SELECT CASE step WHEN 'research' THEN done.research_model WHEN 'generate' THEN done.generate_model
                     ELSE done.review_model END,
           avg(done.quality_score), count(*), count(*) FILTER (WHERE done.review_passed)::numeric / count(*)
    FROM pipeline_runs AS done
    WHERE done.status = 'completed'
      AND done.started_at >= start_date::timestamptz AND done.started_at < (end_date + 1)::timestamptz
    GROUP BY 1 ORDER BY 2 DESC NULLS LAST, 1;
END $$
"""

FUNCTIONS = (
    "compare_models(date, date, text)",
    "get_cost_breakdown(date, date, text)",
    "get_monthly_cost(int, int)",
    "get_daily_cost(date)",
    "costs_between(timestamptz, timestamptz)",
)

SAVED_BY_REPLAYS = """
UPDATE llm_requests SET saved_usd = original.cost_usd
FROM llm_requests AS original
WHERE llm_requests.status = 'replayed' AND original.id = llm_requests.replayed_from
"""


def upgrade() -> None:
    op.alter_column("budgets", "limit_usd", existing_type=MONEY, nullable=True)
    op.add_column("budgets", sa.Column("warn_usd", MONEY, nullable=True))
    op.create_check_constraint(op.f("ck_budgets_warn_not_negative"), "budgets", "warn_usd >= 0")
    op.create_table(
        "budget_alerts",
        sa.Column("scope_kind", sa.Text(), nullable=False),
        sa.Column("scope_id", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("warn_usd", MONEY, nullable=False),
        sa.Column("spent_usd", MONEY, nullable=False),
        sa.Column(
            "alerted_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint(
            "scope_kind", "scope_id", "period", "period_start", "warn_usd", name=op.f("pk_budget_alerts")
        ),
    )
    op.add_column("llm_requests", sa.Column("saved_usd", MONEY, nullable=True))
    op.execute(SAVED_BY_REPLAYS)
    op.execute("DROP VIEW cost_tracking")
    for statement in (COST_TRACKING, COSTS_BETWEEN, DAILY_COST, MONTHLY_COST, COST_BREAKDOWN, COMPARE_MODELS):
        op.execute(statement)
    op.execute("SELECT isolate_rows('budget_alerts', 'scope_kind = ''user'' AND scope_id = headrace_user()')")
    op.execute("SELECT grant_headrace_roles()")


def downgrade() -> None:
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
    op.execute("DROP VIEW cost_tracking")
    op.execute(COST_TRACKING_BEFORE)
    op.execute("SELECT grant_headrace_roles()")
    op.drop_column("llm_requests", "saved_usd")
    op.drop_table("budget_alerts")
    op.execute("DELETE FROM budgets WHERE limit_usd IS NULL")
    op.drop_constraint(op.f("ck_budgets_warn_not_negative"), "budgets", type_="check")
    op.drop_column("budgets", "warn_usd")
    op.alter_column("budgets", "limit_usd", existing_type=MONEY, nullable=False)
