"""The course forum's tables, and what migrations remember.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = (
    "courses",
    "source_records",
    "users",
    "course_materials",
    "enrollments",
    "migration_chunks",
    "migration_rejects",
    "migration_rows",
    "threads",
    "ai_answers",
    "ai_conversations",
    "posts",
    "ai_messages",
    "citations",
)

ENROLLED = "course_id IN (SELECT course_id FROM enrollments WHERE enrollments.user_id = headrace_user())"

ISOLATED = {
    "users": "id = headrace_user()",
    "enrollments": "user_id = headrace_user()",
    "courses": "id IN (SELECT course_id FROM enrollments WHERE enrollments.user_id = headrace_user())",
    "threads": ENROLLED,
    "course_materials": ENROLLED,
    # What is said in a thread is read by whoever may read the thread, of which its own policy decides.
    "posts": "EXISTS (SELECT FROM threads WHERE threads.id = thread_id)",
    "ai_answers": "EXISTS (SELECT FROM threads WHERE threads.id = thread_id)",
    "citations": "EXISTS (SELECT FROM ai_answers WHERE ai_answers.id = answer_id)",
    "ai_conversations": "user_id = headrace_user()",
    "ai_messages": "EXISTS (SELECT FROM ai_conversations WHERE ai_conversations.id = conversation_id)",
}

# Holds a run's staging tables while it lasts; whoever migrates makes them, so the worker's role may.
STAGING = """
DO $$
BEGIN
    CREATE SCHEMA IF NOT EXISTS headrace_staging;
    IF to_regrole('headrace_worker') IS NOT NULL THEN
        GRANT USAGE, CREATE ON SCHEMA headrace_staging TO headrace_worker;
    END IF;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "courses",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("term", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("instructor_ids", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("enrollment_count", sa.Integer(), nullable=True),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attributes", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.BigInteger(), nullable=True),
        sa.Column("migration_run_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("status IN ('active', 'archived')", name=op.f("ck_courses_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_courses")),
    )
    op.create_table(
        "source_records",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("source_table", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("record", postgresql.JSONB(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.BigInteger(), nullable=True),
        sa.Column("migration_run_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("source IS NOT NULL", name=op.f("ck_source_records_source")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source_records")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("avatar", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attributes", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.BigInteger(), nullable=True),
        sa.Column("migration_run_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("role IN ('student', 'instructor', 'ta')", name=op.f("ck_users_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_table(
        "course_materials",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("course_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("keywords", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("week", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attributes", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.BigInteger(), nullable=True),
        sa.Column("migration_run_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "type IN ('assignment', 'lab', 'lecture', 'note', 'reading', 'schedule', 'slide', 'syllabus', 'textbook')",
            name=op.f("ck_course_materials_type"),
        ),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_course_materials_course_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_course_materials")),
    )
    op.create_index(op.f("ix_course_materials_course_id"), "course_materials", ["course_id"], unique=False)
    op.create_table(
        "enrollments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("course_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attributes", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.BigInteger(), nullable=True),
        sa.Column("migration_run_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("role IN ('student', 'instructor', 'ta')", name=op.f("ck_enrollments_role")),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_enrollments_course_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_enrollments_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrollments")),
    )
    op.create_index(op.f("ix_enrollments_course_id"), "enrollments", ["course_id"], unique=False)
    op.create_index(op.f("ix_enrollments_user_id"), "enrollments", ["user_id"], unique=False)
    op.create_table(
        "migration_chunks",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("inserted", sa.Integer(), nullable=False),
        sa.Column("updated", sa.Integer(), nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_migration_chunks_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "target", "chunk", name=op.f("pk_migration_chunks")),
    )
    op.create_table(
        "migration_rejects",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("source_table", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=True),
        sa.Column("record", postgresql.JSONB(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_migration_rejects_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_migration_rejects")),
    )
    op.create_index(
        "ix_migration_rejects_run_id_source_table", "migration_rejects", ["run_id", "source_table"], unique=False
    )
    op.create_table(
        "migration_rows",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_migration_rows_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "target", "row_id", name=op.f("pk_migration_rows")),
    )
    op.create_table(
        "threads",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("course_id", sa.Text(), nullable=False),
        sa.Column("author_id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("views", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attributes", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.BigInteger(), nullable=True),
        sa.Column("migration_run_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("status IN ('open', 'answered', 'resolved')", name=op.f("ck_threads_status")),
        sa.ForeignKeyConstraint(["author_id"], ["users.id"], name=op.f("fk_threads_author_id")),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_threads_course_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_threads")),
    )
    op.create_index(op.f("ix_threads_author_id"), "threads", ["author_id"], unique=False)
    op.create_index(op.f("ix_threads_course_id"), "threads", ["course_id"], unique=False)
    op.create_table(
        "ai_answers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=False),
        sa.Column("course_id", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("confidence_level", sa.Text(), nullable=True),
        sa.Column("confidence_score", sa.Integer(), nullable=True),
        sa.Column("student_endorsements", sa.Integer(), server_default="0", nullable=False),
        sa.Column("instructor_endorsements", sa.Integer(), server_default="0", nullable=False),
        sa.Column("total_endorsements", sa.Integer(), server_default="0", nullable=False),
        sa.Column("instructor_endorsed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("endorsed_by", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("generated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attributes", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.BigInteger(), nullable=True),
        sa.Column("migration_run_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "confidence_level IN ('high', 'medium', 'low')", name=op.f("ck_ai_answers_confidence_level")
        ),
        sa.CheckConstraint("confidence_score BETWEEN 0 AND 100", name=op.f("ck_ai_answers_confidence_score_range")),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_ai_answers_course_id")),
        sa.ForeignKeyConstraint(["thread_id"], ["threads.id"], name=op.f("fk_ai_answers_thread_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ai_answers")),
    )
    op.create_index(op.f("ix_ai_answers_course_id"), "ai_answers", ["course_id"], unique=False)
    op.create_index(op.f("ix_ai_answers_thread_id"), "ai_answers", ["thread_id"], unique=False)
    op.create_table(
        "ai_conversations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("course_id", sa.Text(), nullable=True),
        sa.Column("thread_id", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("message_count", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attributes", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.BigInteger(), nullable=True),
        sa.Column("migration_run_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_ai_conversations_course_id")),
        sa.ForeignKeyConstraint(["thread_id"], ["threads.id"], name=op.f("fk_ai_conversations_thread_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_ai_conversations_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ai_conversations")),
    )
    op.create_index(op.f("ix_ai_conversations_course_id"), "ai_conversations", ["course_id"], unique=False)
    op.create_index(op.f("ix_ai_conversations_thread_id"), "ai_conversations", ["thread_id"], unique=False)
    op.create_index(op.f("ix_ai_conversations_user_id"), "ai_conversations", ["user_id"], unique=False)
    op.create_table(
        "posts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=False),
        sa.Column("author_id", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("endorsed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("flagged", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attributes", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.BigInteger(), nullable=True),
        sa.Column("migration_run_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["author_id"], ["users.id"], name=op.f("fk_posts_author_id")),
        sa.ForeignKeyConstraint(["thread_id"], ["threads.id"], name=op.f("fk_posts_thread_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_posts")),
    )
    op.create_index(op.f("ix_posts_author_id"), "posts", ["author_id"], unique=False)
    op.create_index(op.f("ix_posts_thread_id"), "posts", ["thread_id"], unique=False)
    op.create_table(
        "ai_messages",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attributes", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.BigInteger(), nullable=True),
        sa.Column("migration_run_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("role IN ('user', 'assistant', 'system')", name=op.f("ck_ai_messages_role")),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["ai_conversations.id"],
            name=op.f("fk_ai_messages_conversation_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ai_messages")),
    )
    op.create_index(op.f("ix_ai_messages_conversation_id"), "ai_messages", ["conversation_id"], unique=False)
    op.create_table(
        "citations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("answer_id", sa.Text(), nullable=False),
        sa.Column("material_id", sa.Text(), nullable=True),
        sa.Column("course_id", sa.Text(), nullable=True),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("source_type", sa.Text(), nullable=True),
        sa.Column("excerpt", sa.Text(), nullable=True),
        sa.Column("relevance", sa.Integer(), nullable=True),
        sa.Column("link", sa.Text(), nullable=True),
        sa.Column("attributes", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.BigInteger(), nullable=True),
        sa.Column("migration_run_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "source_type IN ('assignment', 'lab', 'lecture', 'note', 'reading', 'schedule', 'slide', 'syllabus', 'textbook')",
            name=op.f("ck_citations_source_type"),
        ),
        sa.CheckConstraint("relevance BETWEEN 0 AND 100", name=op.f("ck_citations_relevance_range")),
        sa.ForeignKeyConstraint(["answer_id"], ["ai_answers.id"], name=op.f("fk_citations_answer_id")),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_citations_course_id")),
        sa.ForeignKeyConstraint(["material_id"], ["course_materials.id"], name=op.f("fk_citations_material_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_citations")),
    )
    op.create_index(op.f("ix_citations_answer_id"), "citations", ["answer_id"], unique=False)
    op.create_index(op.f("ix_citations_course_id"), "citations", ["course_id"], unique=False)
    op.create_index(op.f("ix_citations_material_id"), "citations", ["material_id"], unique=False)
    op.execute(STAGING)
    for table, condition in ISOLATED.items():
        op.execute(f"SELECT isolate_rows('{table}', $condition${condition}$condition$)")
    op.execute("SELECT grant_headrace_roles()")


def downgrade() -> None:
    op.execute("DROP SCHEMA headrace_staging CASCADE")
    for table in ISOLATED:
        op.execute(f"DROP POLICY own_rows ON {table}")
    for table in reversed(TABLES):
        op.drop_table(table)
