"""A conversation as a thread of the forum, by the rules the forum had. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.answering import StoredMessage

LONGEST_TITLE = 100
CUT_TITLE = 97
EARLIEST_CUT = 50
"""A title is cut at its last blank beyond this, if it has one."""
NO_TITLE = "Conversation with Quokka"
SPEAKERS = {"user": "**You:**", "assistant": "**Quokka:**"}


def thread_title(question: str) -> str:
    """The title of what begins with `question`: at most 100 characters, with an ellipsis where it was cut."""
    title = question.strip()
    if len(title) <= LONGEST_TITLE:
        return title or NO_TITLE
    cut = title[:CUT_TITLE]
    blank = cut.rfind(" ")
    return f"{cut[:blank] if blank > EARLIEST_CUT else cut}..."


def thread_content(messages: Sequence[StoredMessage]) -> str:
    """What was said, each message after who said it; what the application told the model is left out."""
    said = ((SPEAKERS.get(message.role), message.content.strip()) for message in messages)
    return "\n\n".join(f"{speaker} {content}" for speaker, content in said if speaker)


def first_question(messages: Sequence[StoredMessage]) -> str:
    """What the user said first; nothing where they said nothing."""
    return next((message.content for message in messages if message.role == "user"), "")
