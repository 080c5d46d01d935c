"""Rows of their own for users, feedback, and the keyword service's tables as views.

Roles belong to the server, not to a database: they are made where that is allowed and where they are missing, shared
with the other databases of the server, and left alone when the schema goes down.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import logging

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

log = logging.getLogger("headrace")

HEADRACE_USER = """
CREATE FUNCTION headrace_user() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    -- A setting that was made for a transaction is empty, not missing, in the next one.
    SELECT nullif(current_setting('headrace.user', true), '')
$$
"""

ISOLATE_ROWS = """
CREATE FUNCTION isolate_rows(target regclass, condition text) RETURNS void
LANGUAGE plpgsql AS $$
-- Of `target`, whoever has no policy of their own reads only rows that meet `condition`. To be followed by
-- grant_headrace_roles().
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY own_rows ON %s FOR SELECT USING (%s)', target, condition);
END $$
"""

GRANT_HEADRACE_ROLES = """
CREATE FUNCTION grant_headrace_roles() RETURNS SETOF text
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
-- The roles exist and may do what they are for, as far as the caller can see to it. Returned are the statements that
-- were refused: an administrator runs them and calls this again, or calls this in the caller's place.
DECLARE
    owner name;
    owner_is_worker boolean;
    has_read boolean;
    statement text;
    writers text;
BEGIN
    SELECT pg_get_userbyid(relowner) INTO owner FROM pg_class WHERE oid = 'llm_requests'::regclass;
    FOR statement IN
        SELECT format('CREATE ROLE %I NOLOGIN', role)
        FROM unnest(ARRAY['headrace_worker', 'headrace_app', 'headrace_read']) AS role
        WHERE to_regrole(role) IS NULL
        UNION ALL
        SELECT 'ALTER ROLE headrace_worker BYPASSRLS'
        WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'headrace_worker' AND rolbypassrls)
        UNION ALL
        SELECT format('GRANT headrace_worker TO %I', owner) FROM pg_roles
        WHERE rolname = owner AND NOT coalesce(pg_has_role(owner, to_regrole('headrace_worker'), 'USAGE'), rolsuper)
    LOOP
        BEGIN
            EXECUTE statement;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;  -- made for another database in this moment
            WHEN insufficient_privilege OR undefined_object THEN RETURN NEXT statement;
        END;
    END LOOP;
    has_read := to_regrole('headrace_read') IS NOT NULL;
    owner_is_worker := coalesce(pg_has_role(owner, to_regrole('headrace_worker'), 'USAGE'), false);
    -- The owner, who has worked alone until now, goes on as a worker even where there cannot be a role for that.
    writers := concat_ws(', ', to_regrole('headrace_worker')::text, CASE WHEN NOT owner_is_worker THEN quote_ident(owner) END);
    FOR statement IN
        SELECT format(command, relname)
        FROM pg_class,
        LATERAL (VALUES
            (true, 'DROP POLICY IF EXISTS writers ON %I'),
            (true, 'CREATE POLICY writers ON %I TO ' || writers || ' USING (true) WITH CHECK (true)'),
            (true, 'DROP POLICY IF EXISTS readers ON %I'),
            (has_read, 'CREATE POLICY readers ON %I FOR SELECT TO headrace_read USING (true)')
        ) AS commands(wanted, command)
        WHERE relnamespace = current_schema()::regnamespace AND relrowsecurity AND wanted
    LOOP
        EXECUTE statement;
    END LOOP;
    FOR statement IN
        SELECT format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO headrace_worker', relname) FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND pg_get_userbyid(relowner) = owner
            AND relkind IN ('r', 'p') AND to_regrole('headrace_worker') IS NOT NULL
        UNION ALL
        SELECT format('GRANT SELECT ON %I TO %s', relname, role) FROM pg_class,
            unnest(ARRAY['headrace_worker', 'headrace_read']) AS role
        WHERE relnamespace = current_schema()::regnamespace AND pg_get_userbyid(relowner) = owner
            AND (relkind = 'v' OR role = 'headrace_read') AND relkind IN ('r', 'p', 'v') AND to_regrole(role) IS NOT NULL
        UNION ALL
        -- The application's role may do what the policies named own_… are about, and look through the views.
        SELECT format('GRANT %s ON %I TO headrace_app', string_agg(cmd, ', '), tablename) FROM pg_policies
        WHERE schemaname = current_schema() AND starts_with(policyname, 'own_') AND to_regrole('headrace_app') IS NOT NULL
        GROUP BY tablename
        UNION ALL
        SELECT format('GRANT SELECT ON %I TO headrace_app', relname) FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind = 'v'
            AND 'security_invoker=true' = ANY(reloptions) AND to_regrole('headrace_app') IS NOT NULL
        UNION ALL
        SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT %s ON TABLES TO %s',
            owner, current_schema(), privileges, role)
        FROM (VALUES ('headrace_worker', 'SELECT, INSERT, UPDATE, DELETE'), ('headrace_read', 'SELECT'))
            AS defaults(role, privileges)
        WHERE to_regrole(role) IS NOT NULL
    LOOP
        EXECUTE statement;
    END LOOP;
END $$
"""

FEEDBACK_POLICIES = (
    """
    CREATE POLICY own_feedback ON feedback FOR INSERT
    WITH CHECK (user_id = headrace_user() AND EXISTS (SELECT FROM llm_requests WHERE id = response_id))
    """,
    """
    CREATE POLICY own_changes ON feedback FOR UPDATE USING (user_id = headrace_user())
    WITH CHECK (user_id = headrace_user() AND EXISTS (SELECT FROM llm_requests WHERE id = response_id))
    """,
)

ISOLATED = {
    "llm_requests": "user_id = headrace_user()",
    "llm_bodies": "EXISTS (SELECT FROM llm_requests WHERE id = request_id)",
    "budgets": "scope_kind = 'user' AND scope_id = headrace_user()",
    "budget_usage": "scope_kind = 'user' AND scope_id = headrace_user()",
    "feedback": "user_id = headrace_user()",
}

ANSWER_AS_JSON = """
CREATE FUNCTION answer_as_json(said text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
-- What a model said, without the Markdown fence it may have put around; words that are no JSON as {"text": …}.
BEGIN
    RETURN coalesce(regexp_replace(said, '^\\s*```(json)?\\s*\\n(.*?)\\n?\\s*```\\s*$', '\\2')::jsonb, '{}');
EXCEPTION WHEN data_exception THEN
    RETURN jsonb_build_object('text', said);
END $$
"""

# A join keeps the views from being updatable.
LEXYBRAIN_REQUESTS = """
CREATE VIEW lexybrain_requests WITH (security_invoker = true) AS
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

LEXYBRAIN_RESPONSES = """
CREATE VIEW lexybrain_responses WITH (security_invoker = true) AS
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

LEXYBRAIN_FEEDBACK = """
CREATE VIEW lexybrain_feedback WITH (security_invoker = true) AS
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

LEXYBRAIN_TRAINING_DATA = """
CREATE VIEW lexybrain_training_data WITH (security_invoker = true) AS
SELECT requests.id AS request_id,
       requests.user_id,
       requests.prompt,
       requests.context_json,
       requests.insight_type,
       requests.market,
       requests.niche_terms,
       requests.requested_at,
       responses.id AS response_id,
       responses.model_name,
       responses.output_json,
       responses.generated_at,
       responses.latency_ms,
       responses.success,
       responses.tokens_in,
       responses.tokens_out,
       said.feedback,
       said.notes AS feedback_notes,
       said.created_at AS feedback_at
FROM lexybrain_requests AS requests
LEFT JOIN lexybrain_responses AS responses ON responses.request_id = requests.id
LEFT JOIN lexybrain_feedback AS said ON said.response_id = responses.id
ORDER BY requests.requested_at DESC
"""

LEXYBRAIN_STATISTICS = """
CREATE FUNCTION get_lexybrain_feedback_stats(
    start_date timestamptz DEFAULT now() - interval '30 days', end_date timestamptz DEFAULT now()
) RETURNS TABLE (
    insight_type text, total_requests bigint, total_responses bigint, total_feedback bigint,
    positive_feedback bigint, negative_feedback bigint, neutral_feedback bigint, avg_latency_ms numeric
)
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    -- Feedback is counted by response first: joined as it is, it would weigh the latencies.
    SELECT requests.insight_type, count(*), count(responses.id), coalesce(sum(said.total), 0)::bigint,
           coalesce(sum(said.positive), 0)::bigint, coalesce(sum(said.negative), 0)::bigint,
           coalesce(sum(said.neutral), 0)::bigint, avg(responses.latency_ms) FILTER (WHERE responses.success)
    FROM lexybrain_requests AS requests
    LEFT JOIN lexybrain_responses AS responses ON responses.request_id = requests.id
    LEFT JOIN (
        SELECT response_id, count(*) AS total, count(*) FILTER (WHERE feedback = 'positive') AS positive,
               count(*) FILTER (WHERE feedback = 'negative') AS negative,
               count(*) FILTER (WHERE feedback = 'neutral') AS neutral
        FROM lexybrain_feedback GROUP BY response_id
    ) AS said ON said.response_id = responses.id
    WHERE requests.requested_at BETWEEN start_date AND end_date
    GROUP BY requests.insight_type ORDER BY requests.insight_type
$$
"""

VIEWS = ("lexybrain_training_data", "lexybrain_feedback", "lexybrain_responses", "lexybrain_requests")
FUNCTIONS = (
    "get_lexybrain_feedback_stats(timestamptz, timestamptz)",
    "answer_as_json(text)",
    "grant_headrace_roles()",
    "isolate_rows(regclass, text)",
    "headrace_user()",
)

LIFT_ISOLATION = """
DO $$
DECLARE
    owner name;
    statement text;
BEGIN
    SELECT pg_get_userbyid(relowner) INTO owner FROM pg_class WHERE oid = 'llm_requests'::regclass;
    FOR statement IN
        SELECT format('DROP POLICY %I ON %I', policyname, tablename) FROM pg_policies
        WHERE schemaname = current_schema() AND (starts_with(policyname, 'own_') OR policyname IN ('writers', 'readers'))
        UNION ALL
        SELECT format('ALTER TABLE %I DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', relname) FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relrowsecurity
        UNION ALL
        SELECT format('REVOKE ALL ON %I FROM %s', relname, role) FROM pg_class,
            unnest(ARRAY['headrace_worker', 'headrace_app', 'headrace_read']) AS role
        WHERE relnamespace = current_schema()::regnamespace AND pg_get_userbyid(relowner) = owner
            AND relkind IN ('r', 'p', 'v') AND to_regrole(role) IS NOT NULL
        UNION ALL
        SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I REVOKE ALL ON TABLES FROM %s',
            owner, current_schema(), role)
        FROM unnest(ARRAY['headrace_worker', 'headrace_read']) AS role WHERE to_regrole(role) IS NOT NULL
    LOOP
        EXECUTE statement;
    END LOOP;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("response_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("rating", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("rating IN ('positive', 'negative', 'neutral')", name=op.f("ck_feedback_rating")),
        sa.ForeignKeyConstraint(
            ["response_id"], ["llm_requests.id"], name=op.f("fk_feedback_response_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback")),
        sa.UniqueConstraint(
            "response_id",
            "user_id",
            name=op.f("uq_feedback_response_id_user_id"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    for function in (HEADRACE_USER, ISOLATE_ROWS, GRANT_HEADRACE_ROLES, ANSWER_AS_JSON):
        op.execute(function)
    for table, condition in ISOLATED.items():
        op.execute(sa.text("SELECT isolate_rows(:target, :condition)").bindparams(target=table, condition=condition))
    for statement in (*FEEDBACK_POLICIES, LEXYBRAIN_REQUESTS, LEXYBRAIN_RESPONSES, LEXYBRAIN_FEEDBACK):
        op.execute(statement)
    op.execute(LEXYBRAIN_TRAINING_DATA)
    op.execute(LEXYBRAIN_STATISTICS)
    refused = op.get_bind().execute(sa.text("SELECT grant_headrace_roles()")).scalars().all()
    if refused:
        log.warning(
            "the database's roles are not complete: an administrator runs `SELECT grant_headrace_roles()` in this "
            "database, or else %s; then `headrace db roles`",
            "; ".join(refused),
        )


def downgrade() -> None:
    for view in VIEWS:
        op.execute(f"DROP VIEW {view}")
    op.execute(LIFT_ISOLATION)
    op.drop_table("feedback")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
