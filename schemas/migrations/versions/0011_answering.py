"""Answers outside threads, citations with their place in a chunk, and conversations that remember.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

OF_THREAD = "EXISTS (SELECT FROM threads WHERE threads.id = thread_id)"
# What was asked outside a thread is its asker's alone.
OF_THREAD_OR_OWN = f"{OF_THREAD} OR thread_id IS NULL AND user_id = headrace_user()"

CLEANUP_CONVERSATIONS = """
CREATE FUNCTION cleanup_conversations() RETURNS int
LANGUAGE sql AS $$
    -- A summary tells what the messages that go have said, so that it goes with the first of them; it is made anew
    -- of those that stay. Parts of one statement see the rows as they were before it: a conversation that is left
    -- without messages is one whose messages are all old.
    WITH old AS (
        SELECT clock_timestamp() - interval '90 days' AS moment
    ), gone AS (
        DELETE FROM ai_messages USING old WHERE created_at < old.moment RETURNING ai_messages.conversation_id
    ), emptied AS (
        DELETE FROM ai_conversations AS talks USING old
        WHERE talks.created_at < old.moment AND NOT EXISTS (
            SELECT FROM ai_messages AS said WHERE said.conversation_id = talks.id AND said.created_at >= old.moment)
        RETURNING talks.id
    ), forgotten AS (
        UPDATE ai_conversations SET summary = NULL, summarized_until = NULL, summarized_id = NULL
        WHERE id IN (SELECT conversation_id FROM gone EXCEPT SELECT id FROM emptied) AND summary IS NOT NULL
    )
    SELECT count(*)::int FROM gone
$$
"""

ISOLATE = "SELECT isolate_rows('ai_answers', $condition${}$condition$)"
ANSWER_COLUMNS = ("user_id", "question", "answered", "model", "request_id")
CITATION_COLUMNS = ("chunk_id", "start_char", "end_char")
CONVERSATION_COLUMNS = ("summary", "summarized_until", "summarized_id")


def upgrade() -> None:
    op.alter_column("ai_answers", "thread_id", existing_type=sa.Text(), nullable=True)
    op.add_column("ai_answers", sa.Column("user_id", sa.Text(), nullable=True))
    op.add_column("ai_answers", sa.Column("question", sa.Text(), nullable=True))
    op.add_column("ai_answers", sa.Column("answered", sa.Boolean(), nullable=True))
    op.add_column("ai_answers", sa.Column("model", sa.Text(), nullable=True))
    op.add_column("ai_answers", sa.Column("request_id", sa.Uuid(), nullable=True))
    op.create_check_constraint(
        op.f("ck_ai_answers_asked"), "ai_answers", "thread_id IS NOT NULL OR question IS NOT NULL"
    )
    op.create_index(op.f("ix_ai_answers_user_id"), "ai_answers", ["user_id"], unique=False)
    op.add_column("citations", sa.Column("chunk_id", sa.Uuid(), nullable=True))
    op.add_column("citations", sa.Column("start_char", sa.Integer(), nullable=True))
    op.add_column("citations", sa.Column("end_char", sa.Integer(), nullable=True))
    op.create_foreign_key(
        op.f("fk_citations_chunk_id"), "citations", "chunks", ["chunk_id"], ["id"], ondelete="SET NULL"
    )
    op.create_index(op.f("ix_citations_chunk_id"), "citations", ["chunk_id"], unique=False)
    op.add_column("ai_conversations", sa.Column("summary", sa.Text(), nullable=True))
    op.add_column("ai_conversations", sa.Column("summarized_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("ai_conversations", sa.Column("summarized_id", sa.Text(), nullable=True))
    op.create_index(
        "ix_ai_messages_conversation_id_created_at_id",
        "ai_messages",
        ["conversation_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(op.f("ix_ai_messages_created_at"), "ai_messages", ["created_at"], unique=False)
    op.execute("DROP POLICY own_rows ON ai_answers")
    op.execute(ISOLATE.format(OF_THREAD_OR_OWN))
    op.execute(CLEANUP_CONVERSATIONS)
    op.execute("SELECT grant_headrace_roles()")


def downgrade() -> None:
    op.execute("DROP FUNCTION cleanup_conversations()")
    op.execute("DROP POLICY own_rows ON ai_answers")
    op.drop_index(op.f("ix_ai_messages_created_at"), table_name="ai_messages")
    op.drop_index("ix_ai_messages_conversation_id_created_at_id", table_name="ai_messages")
    for name in reversed(CONVERSATION_COLUMNS):
        op.drop_column("ai_conversations", name)
    # An answer without a thread has no place in the schema before.
    op.execute("DELETE FROM citations USING ai_answers WHERE answer_id = ai_answers.id AND thread_id IS NULL")
    op.execute("DELETE FROM ai_answers WHERE thread_id IS NULL")
    for name in reversed(CITATION_COLUMNS):
        op.drop_column("citations", name)
    op.drop_constraint(op.f("ck_ai_answers_asked"), "ai_answers", type_="check")
    for name in reversed(ANSWER_COLUMNS):
        op.drop_column("ai_answers", name)
    op.alter_column("ai_answers", "thread_id", existing_type=sa.Text(), nullable=False)
    op.execute(ISOLATE.format(OF_THREAD))
