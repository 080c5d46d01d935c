"""Prime Radiant, the finance assistant: a row for each message, and nothing that says which conversation it is of.

The messages of one user about one page are one conversation, called USER/page; the page is kept as an attribute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from tasks.migration.declaration import Counted, Kind, Reference, Table
from tasks.migration.fields import IN_UTC, NOT_IN_SOURCE, Count, Id, Moment, valid_uuid
from tasks.migration.sql_records import SqlMoment, SqlRecord

if TYPE_CHECKING:
    from blocks.sources.records import Source

MESSAGES = ("conversations", "advisor_messages")
LONGEST_PAGE = 200
NO_PAGE = "(no page)"


class UserRecord(SqlRecord):
    id: Id
    name: str


class ConversationRecord(SqlRecord):
    """What the messages of a user about a page have in common, as `GroupedTable` tells it."""

    id: Id
    user_id: Id
    title: str
    message_count: Count = Field(alias="count")
    created_at: Moment = Field(alias="first")
    updated_at: Moment = Field(alias="last")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, record: dict[str, Any]) -> dict[str, Any]:
        user, page = user_and_page(record)
        return {**record, "id": f"{user}/{page or ''}", "user_id": user, "page": page, "title": page or NO_PAGE}


class MessageRecord(SqlRecord):
    id: Id
    conversation_id: Id
    role: Literal["user", "assistant", "system"]
    content: str
    created_at: SqlMoment = Field(alias="timestamp")

    @model_validator(mode="before")
    @classmethod
    def _of_conversation(cls, record: dict[str, Any]) -> dict[str, Any]:
        user, page = user_and_page(record)
        rest = {name: value for name, value in record.items() if name != "user_id"}
        return {**rest, "page": page, "conversation_id": f"{user}/{page or ''}"}


def user_and_page(record: dict[str, Any]) -> tuple[str, str | None]:
    """Whom the record belongs to, and the page that it is about.

    Raises:
        ValueError: the user is none, or the page is no text of a page's length.
    """
    page = record.get("page") or None
    if page is not None and not (isinstance(page, str) and len(page) <= LONGEST_PAGE):
        raise ValueError(f"page is no text of at most {LONGEST_PAGE} characters")
    return str(valid_uuid("user_id", record.get("user_id"))), page


def _open(path: str) -> Source:
    from blocks.sources.chosen import open_tables
    from blocks.sources.grouping import GroupedSource

    return GroupedSource(
        open_tables(path, frozenset(MESSAGES)),
        names=tuple(name.replace("_", "") for name in MESSAGES),
        renamed="messages",
        grouped="conversations",
        by=("user_id", "page"),
        required=("user_id",),
        moment="timestamp",
    )


KIND = Kind(
    name="prime-radiant",
    version="1",
    description="Finance assistant: its conversations as CSV, JSON, a plain SQL dump or a Postgres URL",
    open_source=_open,
    tables=(
        Table("users", UserRecord, "users", placeholder={"name": NOT_IN_SOURCE}),
        Table(
            "conversations",
            ConversationRecord,
            "ai_conversations",
            references=(Reference("user_id", "users", "create-placeholder"),),
            counted=(Counted("message_count", "messages", by="conversation_id"),),
            conversions=("the messages of a user about a page are one conversation, called USER/page", IN_UTC),
        ),
        Table(
            "messages",
            MessageRecord,
            "ai_messages",
            references=(Reference("conversation_id", "conversations"),),
            conversions=("timestamp is kept as created_at, the user as its conversation's", IN_UTC),
        ),
    ),
)
