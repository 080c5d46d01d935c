"""What is cleaned away of a conversation is gone from the calls of its turns too.

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# A call of a turn (the reply, the summary, the search of materials) names its conversation. It keeps its row with what
# it cost; its texts go when the call itself is so old, those of earlier messages that it repeats with them. Without a
# body an answer is not replayed.
CLEANUP = """
CREATE OR REPLACE FUNCTION cleanup_conversations() RETURNS int
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
    ){of_calls}
    SELECT count(*)::int FROM gone
$$
"""
OF_CALLS = """, calls AS (
        SELECT id FROM llm_requests, old
        WHERE context ? 'conversation_id' AND purpose IN ('chat', 'chat-summary', 'search')
            AND llm_requests.created_at < old.moment AND status <> 'reserved'
    ), without_texts AS (
        UPDATE llm_requests SET request = NULL, response = NULL, error_message = NULL
        WHERE id IN (SELECT id FROM calls) AND num_nonnulls(request, response, error_message) > 0
    ), without_bodies AS (
        DELETE FROM llm_bodies WHERE request_id IN (SELECT id FROM calls)
    )"""


def upgrade() -> None:
    op.create_index(
        "ix_llm_requests_of_conversations",
        "llm_requests",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("context ? 'conversation_id'"),
    )
    op.execute(CLEANUP.format(of_calls=OF_CALLS))


def downgrade() -> None:
    op.execute(CLEANUP.format(of_calls=""))
    op.drop_index("ix_llm_requests_of_conversations", table_name="llm_requests")
