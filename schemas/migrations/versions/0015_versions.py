"""Versions of models, tests between them, and the fine-tuning jobs that they come from; one training row a response.

Revision ID: 0015
Revises: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# One row for each response: with the opinion of who asked, or else the latest of others.
TRAINING_DATA = """
CREATE OR REPLACE VIEW lexybrain_training_data WITH (security_invoker = true) AS
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
LEFT JOIN {said} AS said ON said.response_id = responses.id
ORDER BY requests.requested_at DESC
"""
EVERY_OPINION = "lexybrain_feedback"
ONE_OPINION = """(
    SELECT DISTINCT ON (response_id) response_id, rating AS feedback, notes, created_at
    FROM (
        SELECT coalesce((calls.attributes ->> 'lexybrain_response_id')::uuid, calls.replayed_from, calls.id)
                   AS response_id,
               opinions.rating, opinions.notes, opinions.created_at, opinions.id,
               opinions.user_id IS NOT DISTINCT FROM calls.user_id AS own
        FROM feedback AS opinions JOIN llm_requests AS calls ON calls.id = opinions.response_id
        WHERE calls.kind = 'chat' AND (calls.insight_type IS NOT NULL OR calls.project = 'lexybrain')
    ) AS opinions
    ORDER BY response_id, own DESC, created_at DESC, id
)"""

TABLES = ("fine_tuning_jobs", "model_versions", "model_promotions", "ab_tests")


def upgrade() -> None:
    op.create_table(
        "fine_tuning_jobs",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("base_model", sa.Text(), nullable=False),
        sa.Column("training_sha256", sa.Text(), nullable=False),
        sa.Column("training_file_id", sa.Text(), nullable=True),
        sa.Column("validation_file_id", sa.Text(), nullable=True),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("fine_tuned_model", sa.Text(), nullable=True),
        sa.Column("trained_tokens", sa.BigInteger(), nullable=True),
        sa.Column("error", postgresql.JSONB(), nullable=True),
        _created("created_at"),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_fine_tuning_jobs_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_fine_tuning_jobs")),
    )
    op.create_table(
        "model_versions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("base_model", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("training_path", sa.Text(), nullable=True),
        sa.Column("training_sha256", sa.Text(), nullable=True),
        sa.Column("training_rows", sa.Integer(), nullable=True),
        sa.Column("export_id", sa.Text(), nullable=True),
        sa.Column("trained_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cost_usd", sa.Numeric(precision=20, scale=10), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        _created("created_at"),
        sa.CheckConstraint("number >= 1", name=op.f("ck_model_versions_number_from_one")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_model_versions_run_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_versions")),
        sa.UniqueConstraint("purpose", "number", name=op.f("uq_model_versions_purpose_number")),
        sa.UniqueConstraint("run_id", name=op.f("uq_model_versions_run_id")),
    )
    op.create_table(
        "model_promotions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        _created("promoted_at"),
        sa.Column("rolled_back_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"], name=op.f("fk_model_promotions_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_promotions")),
    )
    op.create_index(
        "ix_model_promotions_standing",
        "model_promotions",
        ["purpose", "id"],
        unique=False,
        postgresql_where=sa.text("rolled_back_at IS NULL"),
    )
    op.create_table(
        "ab_tests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=True),
        sa.Column("variants", postgresql.JSONB(), nullable=False),
        sa.Column("minimum_effect", sa.Float(precision=53), nullable=False),
        sa.Column("error_rate", sa.Float(precision=53), nullable=False),
        sa.Column("notes", sa.Text(), nullable=True),
        _created("started_at"),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("minimum_effect > 0 AND minimum_effect < 1", name=op.f("ck_ab_tests_effect_of_a_rate")),
        sa.CheckConstraint("error_rate > 0 AND error_rate < 1", name=op.f("ck_ab_tests_error_rate_of_a_test")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ab_tests")),
        sa.UniqueConstraint("name", name=op.f("uq_ab_tests_name")),
    )
    # Two tests cannot both say which model answers; tests without a purpose choose nothing here.
    op.create_index(
        "uq_ab_tests_running", "ab_tests", ["purpose"], unique=True, postgresql_where=sa.text("stopped_at IS NULL")
    )
    op.create_index(
        "ix_llm_requests_of_ab_tests",
        "llm_requests",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("context ? 'ab_tests'"),
    )
    op.execute(TRAINING_DATA.format(said=ONE_OPINION))
    op.execute("SELECT grant_headrace_roles()")


def downgrade() -> None:
    op.execute(TRAINING_DATA.format(said=EVERY_OPINION))
    op.drop_index("ix_llm_requests_of_ab_tests", table_name="llm_requests")
    for table in reversed(TABLES):
        op.drop_table(table)


_NOW = sa.text("clock_timestamp()")


def _created(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=_NOW, nullable=False)
