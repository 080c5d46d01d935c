"""Conversations as rows: each turn is kept when it is said, and a user reads and continues only their own.

The page of a conversation is the attribute `page`, by which the view `conversations` shows its messages to the finance
assistant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from blocks.database import database_errors
from schemas.answering import Conversation, StoredMessage
from schemas.canonical import postgres_json, postgres_text
from schemas.choices import MessageRole
from schemas.errors import NotFound
from schemas.identifiers import new_id
from tasks.answering.conversion import thread_title
from tasks.ledger.session import open_ledger

RETENTION_DAYS = 90
"""As `cleanup_conversations()` has it."""

_COLUMNS = """
    id, user_id, title, attributes ->> 'page' AS page, course_id, thread_id, message_count, created_at, updated_at,
    summary, summarized_until, summarized_id
"""
_ONE = f"SELECT {_COLUMNS} FROM ai_conversations WHERE id = :id AND (CAST(:user AS text) IS NULL OR user_id = :user)"
_READ = text(_ONE)
_LOCK = text(f"{_ONE} FOR UPDATE")
_OF_PAGE = text(f"""
    SELECT {_COLUMNS} FROM ai_conversations WHERE user_id = :user AND attributes ->> 'page' = :page
    ORDER BY coalesce(updated_at, created_at) DESC, id DESC LIMIT 1 FOR UPDATE
""")
_LIST = text(f"""
    SELECT {_COLUMNS} FROM ai_conversations WHERE CAST(:user AS text) IS NULL OR user_id = :user
    ORDER BY coalesce(updated_at, created_at) DESC, id DESC LIMIT :limit
""")
_MESSAGES = text("""
    SELECT id, role, content, created_at FROM ai_messages WHERE conversation_id = :id ORDER BY created_at, id
""")
_MAKE_USER = text("INSERT INTO users (id, name) VALUES (:user, :user) ON CONFLICT (id) DO NOTHING")
_MAKE = text(f"""
    INSERT INTO ai_conversations (id, user_id, course_id, title, message_count, created_at, attributes)
    VALUES (:id, :user, :course, :title, 0, clock_timestamp(), CAST(:attributes AS jsonb)) RETURNING {_COLUMNS}
""")
# Messages are told apart and ordered by their time, so that each is later than the one before, whatever the clock does.
_SAY = text("""
    WITH said AS (
        INSERT INTO ai_messages (id, conversation_id, role, content, created_at, attributes)
        SELECT :id, :conversation, :role, :content, greatest(clock_timestamp(), max(created_at) + interval '1 us'),
               CAST(:attributes AS jsonb)
        FROM ai_messages WHERE conversation_id = :conversation
        RETURNING created_at
    )
    UPDATE ai_conversations AS talks SET updated_at = said.created_at, message_count = 1 + coalesce(message_count,
        (SELECT count(*) FROM ai_messages WHERE conversation_id = :conversation))
    FROM said WHERE talks.id = :conversation RETURNING said.created_at
""")
_CLEAN = text("SELECT cleanup_conversations()")


async def load_conversation(conversation: str, *, user: str | None = None) -> Conversation:
    """The conversation with all of its messages, in two queries however many they are.

    Args:
        user: whose it must be; None: anybody's.

    Raises:
        NotFound: there is none of that id, or it is somebody else's.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                row = (await connection.execute(_READ, {"id": conversation, "user": user})).first()
                if row is None:
                    raise _missing(conversation, user)
                said = (await connection.execute(_MESSAGES, {"id": conversation})).mappings()
                return Conversation(**row._mapping, messages=tuple(StoredMessage(**each) for each in said))


async def list_conversations(user: str | None = None, *, limit: int = 20) -> tuple[Conversation, ...]:
    """The conversations used last, without their messages; of everybody where no user is named."""
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                rows = (await connection.execute(_LIST, {"user": user, "limit": limit})).mappings()
                return tuple(Conversation(**row) for row in rows)


async def clean_conversations() -> int:
    """Messages older than 90 days are gone, with conversations that they leave empty; returns how many they were.

    Calls of turns that are so old keep their row, money and tokens, and lose what was sent and answered.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.begin() as connection:
                return int((await connection.execute(_CLEAN)).scalar_one())


async def take_conversation(
    connection: AsyncConnection,
    user: str,
    *,
    conversation: str | None,
    page: str | None,
    course: str | None,
    first: str,
    begin_anew: bool,
) -> Conversation:
    """The conversation that goes on, locked until the transaction ends: the one named, else the page's, else a new one.

    Raises:
        NotFound: the one named is not there or is somebody else's.
    """
    if conversation is not None:
        row = (await connection.execute(_LOCK, {"id": conversation, "user": user})).first()
        if row is None:
            raise _missing(conversation, user)
        return Conversation(**row._mapping)
    if page is not None and not begin_anew:
        row = (await connection.execute(_OF_PAGE, {"user": user, "page": page})).first()
        if row is not None:
            return Conversation(**row._mapping)
    await connection.execute(_MAKE_USER, {"user": user})
    values = {"id": str(new_id()), "user": user, "course": course, "title": postgres_text(thread_title(first))}
    made = await connection.execute(_MAKE, values | {"attributes": _json({"page": page} if page else {})})
    return Conversation(**made.mappings().one())


async def say(
    connection: AsyncConnection,
    conversation: str,
    role: MessageRole,
    content: str,
    attributes: Mapping[str, Any] | None = None,
) -> StoredMessage:
    """The message is the last of the conversation."""
    message = {"id": str(new_id()), "role": role, "content": postgres_text(content)}
    values = {"conversation": conversation, "attributes": _json(attributes or {})}
    said = (await connection.execute(_SAY, message | values)).scalar_one_or_none()
    if said is None:
        raise _missing(conversation, None)
    return StoredMessage(**message, created_at=said)


def call_context(conversation: Conversation) -> dict[str, Any]:
    """The context of every call of a turn, by which `cleanup_conversations()` finds the calls that repeat its texts."""
    return {"conversation_id": conversation.id}


def without_blank(messages: Sequence[StoredMessage]) -> tuple[StoredMessage, ...]:
    """The messages that say something: older applications kept some that do not."""
    return tuple(message for message in messages if message.content.strip())


def _missing(conversation: str, user: str | None) -> NotFound:
    whose = f" of {user}" if user else ""
    return NotFound(f"there is no conversation {conversation}{whose}", conversation=conversation)


def _json(value: Mapping[str, Any]) -> str:
    return orjson.dumps(postgres_json(dict(value))).decode()
