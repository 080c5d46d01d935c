"""What a conversation remembers: its last messages as they were said, and a running summary of what came before.

Messages that fall out of the window wait until there is half a window of them, and are shown meanwhile; then a recorded
call folds them into the summary, which is kept with the conversation. So a conversation costs one call more in every
ten messages at the usual window of twenty, and nothing that was said is in neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from blocks.database import database_errors
from schemas.answering import Conversation, StoredMessage
from schemas.calls import ChatParameters, Message
from schemas.canonical import postgres_text
from tasks.answering.context import count_tokens
from tasks.answering.conversations import call_context, without_blank
from tasks.ledger.calls import complete
from tasks.ledger.fencing import fence_for, quote
from tasks.ledger.prompts import Prompt
from tasks.ledger.session import Ledger

SUMMARY = Prompt(Path(__file__).parent / "prompts" / "summary.md")
SUMMARY_TOKENS = 400
FOLD_TOKENS = 4000
"""Of messages that one call folds into a summary."""
WINDOW_TOKENS = 6000
"""Of messages that a model is shown; the oldest of a window that has more are left out until they are summarised."""

# What was said up to a message, and is not in the summary yet.
_UNSUMMARIZED = text("""
    SELECT id, role, content, created_at FROM ai_messages
    WHERE conversation_id = :conversation AND (created_at, id) <= (:at, :last)
      AND (CAST(:until AS timestamptz) IS NULL OR (created_at, id) > (:until, :summarized))
    ORDER BY created_at, id
""")
_KEEP = text("""
    UPDATE ai_conversations SET summary = :summary, summarized_until = :until, summarized_id = :last
    WHERE id = :id AND summarized_id IS NOT DISTINCT FROM CAST(:before AS text)
""")


@dataclass(frozen=True)
class Memory:
    """What a model is shown of a conversation: a summary, and the messages after it."""

    summary: str | None
    messages: tuple[StoredMessage, ...]


async def remember(
    ledger: Ledger,
    conversation: Conversation,
    until: StoredMessage,
    *,
    window: int,
    model: str,
    project: str | None = None,
) -> Memory:
    """The memory of `conversation` up to the message `until`, which is the last of it.

    Args:
        window: so many messages are shown as they were said.
        model: summarises what fell out of the window.
    """
    values = {
        "conversation": conversation.id,
        "at": until.created_at,
        "last": until.id,
        "until": conversation.summarized_until,
        "summarized": conversation.summarized_id,
    }
    with database_errors():
        async with ledger.engine.connect() as connection:
            rows = (await connection.execute(_UNSUMMARIZED, values)).mappings()
            said = without_blank([StoredMessage(**row) for row in rows])
    fallen, recent = said[:-window], said[-window:]
    if not fallen or len(fallen) < window // 2:
        return Memory(conversation.summary, _fitting(said))
    return Memory(await _fold(ledger, conversation, fallen, model, project), _fitting(recent))


def _fitting(messages: Sequence[StoredMessage]) -> tuple[StoredMessage, ...]:
    """The last of `messages` that fit, the very last one always."""
    tokens = 0
    for number, message in enumerate(reversed(messages)):
        tokens += count_tokens(message.content)
        if number and tokens > WINDOW_TOKENS:
            return tuple(messages[-number:])
    return tuple(messages)


async def _fold(
    ledger: Ledger, conversation: Conversation, fallen: Sequence[StoredMessage], model: str, project: str | None
) -> str | None:
    """The summary with `fallen` in it, kept after each call that it takes."""
    summary, before = conversation.summary, conversation.summarized_id
    for batch in _batches(fallen):
        done = await complete(
            summary_messages(summary, batch),
            model=model,
            parameters=ChatParameters(max_tokens=SUMMARY_TOKENS, temperature=0.0),
            user=conversation.user_id,
            project=project,
            purpose="chat-summary",
            context=call_context(conversation),
        )
        summary, last = postgres_text(done.text.strip()), batch[-1]
        values = {"id": conversation.id, "summary": summary, "until": last.created_at, "last": last.id}
        with database_errors():
            async with ledger.engine.begin() as connection:
                await connection.execute(_KEEP, values | {"before": before})
        before = last.id
    return summary


def _batches(messages: Sequence[StoredMessage]) -> Iterator[list[StoredMessage]]:
    """`messages` in stretches that one call can read; one that is too long by itself is a stretch."""
    batch: list[StoredMessage] = []
    tokens = 0
    for message in messages:
        cost = count_tokens(message.content)
        if batch and tokens + cost > FOLD_TOKENS:
            yield batch
            batch, tokens = [], 0
        batch.append(message)
        tokens += cost
    if batch:
        yield batch


def summary_messages(summary: str | None, batch: Sequence[StoredMessage]) -> list[Message]:
    """The prompt that folds `batch` into `summary`: instructions in the system message, all else quoted."""
    said = [f"{message.role}: {message.content[: 4 * FOLD_TOKENS]}" for message in batch]
    fence = fence_for(summary or "", said)
    quoted = [quote("summary", summary, fence)] if summary else []
    quoted += [quote("message", text, fence) for text in said]
    return [
        Message(role="system", content=SUMMARY.render(fence=fence)),
        Message(role="user", content="\n".join(quoted)),
    ]
