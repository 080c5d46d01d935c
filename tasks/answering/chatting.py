"""One turn of a conversation: what a user says is kept, a model that remembers answers, and that is kept too.

>>> turn = await chat("And of a product?", user="ada", conversation=turn.conversation_id)
>>> turn.reply, turn.remembered, turn.cost_usd
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from blocks.database import database_errors
from schemas.answering import ChatTurn, CitedPassage, ContextLimits, Conversation, Passage, StoredMessage
from schemas.calls import ChatParameters, Message
from schemas.canonical import require_storable
from schemas.errors import AnswerRejected, BadInput, NotFound
from schemas.search import says_something
from tasks.answering.ask import Shown, find_passages, require_said
from tasks.answering.conversations import call_context, say, take_conversation
from tasks.answering.courses import readable_courses
from tasks.answering.memory import Memory, remember
from tasks.answering.pages import Page, facts_text, find_page
from tasks.answering.quotations import CheckedReply, check_reply
from tasks.answering.searching import Search
from tasks.ledger.calls import Completion, complete
from tasks.ledger.fencing import fence_for, quote
from tasks.ledger.prompts import Prompt
from tasks.ledger.scope import CallScope, current_scope
from tasks.ledger.session import Ledger, open_ledger

log = logging.getLogger(__name__)

CHAT = Prompt(Path(__file__).parent / "prompts" / "chat.md")
HISTORY = 20
CHAT_TOKENS = 1000
REASONING_TOKENS = 8000
TEMPERATURE = 0.7
SHOWN_OF_REFERENCE = 300
"""Characters of a passage that are kept with the message that names it."""


async def chat(
    said: str,
    *,
    user: str,
    conversation: str | None = None,
    page: str | None = None,
    facts: Mapping[str, str] | None = None,
    courses: Sequence[str] = (),
    search: Search | None = None,
    reader: str | None = None,
    history: int = HISTORY,
    begin_anew: bool = False,
    model: str | None = None,
    project: str | None = None,
) -> ChatTurn:
    """The reply to `said`, both kept in the conversation.

    A conversation about a page goes on where the user left it, unless another is named or begun anew. What the user
    said stays although no model can be asked; the next turn shows it.

    Args:
        user: whose conversation it is; a user that is not there yet is made.
        page: a registered page; `facts` are what the application knows of it.
        courses: whose materials are looked at, with `search`; by default the conversation's course.
        reader: who must be enrolled in them; None: nobody, as for an operator at the shell.
        history: how many messages are shown as they were said; see `tasks.answering.memory`.

    Raises:
        NotFound: there is no such conversation of the user, or no such course.
        BadInput: nothing was said, there is no such page, or it has no such fact.
        BudgetExceeded, ConfigurationError, RetriesExhausted: the model could not be used.
    """
    said = require_said(said)
    require_storable(user, "user")
    if not user or history < 2:
        raise BadInput("a conversation is somebody's, and remembers at least 2 messages")
    async with open_ledger() as ledger:
        known = find_page(page, ledger.settings.chat_pages) if page else None
        told = facts_text(known, facts or {}) if known else ""
        model = model or ledger.settings.model_for("chat")
        talk, mine, chosen = await _begin(ledger, said, user, conversation, page, courses, reader, begin_anew)
        shown, looked = Shown(), search is not None and bool(chosen)
        if search is not None and chosen:
            with _turn_of(ledger, talk):
                shown = await _look_up(search, said, chosen, reader, project, required=bool(courses))
        memory = await remember(ledger, talk, mine, window=history, model=model, project=project)
        prompt = chat_messages(memory, known, told, shown.passages)
        done = await _reply(ledger, prompt, model, talk, project)
        checked = CheckedReply(done.text)
        if looked:
            others = [*(message.content for message in memory.messages), memory.summary or "", told]
            checked = check_reply(done.text, shown.passages, others)
        return await _keep(ledger, talk, mine, memory, checked, done)


async def _begin(
    ledger: Ledger,
    said: str,
    user: str,
    conversation: str | None,
    page: str | None,
    courses: Sequence[str],
    reader: str | None,
    begin_anew: bool,
) -> tuple[Conversation, StoredMessage, tuple[str, ...]]:
    """The conversation that goes on, with what was said as its last message; and the courses it looks at."""
    with database_errors():
        async with ledger.engine.begin() as connection:
            chosen = await readable_courses(connection, courses, reader) if courses else ()
            course = chosen[0] if len(chosen) == 1 else None
            talk = await take_conversation(
                connection, user, conversation=conversation, page=page, course=course, first=said, begin_anew=begin_anew
            )
            mine = await say(connection, talk.id, "user", said)
            if not chosen and talk.course_id is not None:
                chosen = await readable_courses(connection, [talk.course_id], reader)
    return talk, mine, chosen


@contextmanager
def _turn_of(ledger: Ledger, conversation: Conversation) -> Iterator[None]:
    """The calls inside name the conversation: what was said goes from them when it goes from the conversation."""
    scope = current_scope.get() or CallScope(project=ledger.settings.project)
    token = current_scope.set(replace(scope, context=call_context(conversation)))
    try:
        yield
    finally:
        current_scope.reset(token)


async def _look_up(
    search: Search, said: str, courses: Sequence[str], reader: str | None, project: str | None, *, required: bool
) -> Shown:
    """The passages for what was said; none for a mere sign, nor where nothing can be searched yet and the user did not
    name the courses.
    """
    if not says_something(said):
        return Shown()
    try:
        return await find_passages(search, said, courses, reader, ContextLimits(), project)
    except NotFound as missing:
        if required:
            raise
        log.warning("no materials are looked at: %s", missing)
        return Shown()


async def _reply(
    ledger: Ledger, prompt: list[Message], model: str, conversation: Conversation, project: str | None
) -> Completion:
    """The model's reply, of which there must be something: messages without content are no turns.

    Raises:
        AnswerRejected: it is blank.
    """
    reasons = (await ledger.providers.describe(model)).reasoning
    done = await complete(
        prompt,
        model=model,
        parameters=ChatParameters(
            max_tokens=CHAT_TOKENS + (REASONING_TOKENS if reasons else 0), temperature=TEMPERATURE
        ),
        user=conversation.user_id,
        project=project,
        purpose="chat",
        context=call_context(conversation),
    )
    if not done.text.strip():
        raise AnswerRejected(f"{done.model} replied with nothing", requests=[str(done.request_id)])
    return done


def chat_messages(memory: Memory, page: Page | None, facts: str, passages: Sequence[Passage]) -> list[Message]:
    """Instructions in the system message; the messages remembered; what is quoted before what the user says now."""
    shown = [f"{passage.heading}\n\n{passage.content}" for passage in passages]
    *earlier, now = memory.messages
    fence = fence_for("\n".join(message.id for message in memory.messages), [facts, memory.summary or "", *shown])
    quoted = [quote("page", facts, fence)] if facts else []
    quoted += [quote("summary", memory.summary, fence)] if memory.summary else []
    quoted += [quote("passage", text, fence, number=each.number) for each, text in zip(passages, shown, strict=True)]
    system = CHAT.render(fence=fence, page=page, passages=bool(passages))
    return [
        Message(role="system", content=system),
        *(Message(role=message.role, content=message.content) for message in earlier if message.role != "system"),
        Message(role="user", content="\n".join([*quoted, now.content])),
    ]


async def _keep(
    ledger: Ledger,
    conversation: Conversation,
    mine: StoredMessage,
    memory: Memory,
    checked: CheckedReply,
    done: Completion,
) -> ChatTurn:
    """The reply is the conversation's last message, with what it cites."""
    references = checked.references
    attributes: dict[str, Any] = {"requestId": str(done.request_id), "model": done.model}
    if references:
        attributes["materialReferences"] = [_kept(reference) for reference in references]
    with database_errors():
        async with ledger.engine.begin() as connection:
            reply = await say(connection, conversation.id, "assistant", checked.text, attributes)
    return ChatTurn(
        conversation_id=conversation.id,
        question=mine.content,
        reply=reply.content,
        request_id=done.request_id,
        model=done.model,
        remembered=len(memory.messages) - 1,
        summarized=memory.summary is not None,
        references=references,
        dropped=checked.dropped,
        cost_usd=done.cost_usd,
        replayed=done.replayed,
    )


def _kept(reference: CitedPassage) -> dict[str, Any]:
    """A reference as the forum kept them with its messages."""
    return {
        "materialId": reference.material_id,
        "chunkId": str(reference.chunk_id),
        "type": reference.type,
        "title": reference.title,
        "excerpt": reference.quote[:SHOWN_OF_REFERENCE],
        "relevanceScore": round(100 * reference.relevance),
    }
