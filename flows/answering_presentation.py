"""What the commands of answers, conversations and threads show."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel
from rich.markdown import Markdown

from flows.presentation import console, money, table, write_json
from schemas.answering import (
    AnswerReport,
    ChatTurn,
    CitedAnswer,
    CitedPassage,
    Conversation,
    ThreadDetail,
    ThreadSummary,
)

if TYPE_CHECKING:
    from rich.console import Console


_MARKDOWN = re.compile(r"[\\`*_\[\]!|~]")
_BEGINNING = re.compile(r"\A(\d*)([-+>#=.)])")
"""What makes a list, a heading or a quote of a line that begins with it."""


def show_answer(report: AnswerReport, *, as_json: bool) -> int:
    """The answer, what it cites, and how far that carries it."""
    if as_json:
        write_json(report)
        return 0
    out = console()
    for line in answer_lines(report.answer):
        out.print(line, soft_wrap=True, markup=False)
    out.print(f"Run {report.run_id}", soft_wrap=True, markup=False)
    return 0


def answer_lines(answer: CitedAnswer) -> Iterator[str]:
    """An answer for a terminal."""
    yield answer.text
    for cited in answer.citations:
        yield ""
        yield f"[{cited.ordinal}] {_printable(place_of(cited))}"
        yield f"    > {_printable(' '.join(cited.quote.split()))}"
    yield ""
    if dropped := len(answer.dropped):
        yield f"Left out: {dropped} sentence{'s' if dropped > 1 else ''} whose quotes are not in the materials"
    if looked_in := where_of(answer):
        yield _printable(looked_in + ("; --everywhere looks in all" if answer.narrowed else ""))
    if answer.shown:
        yield confidence_line(answer)
    yield f"Answer {answer.id}: {cost_of(answer)}"


def place_of(cited: CitedPassage) -> str:
    """Where a citation stands."""
    week = f", week {cited.week}" if cited.week is not None else ""
    headed = " › ".join((cited.title, *cited.heading_path))
    return (
        f"{headed} ({cited.course_id}, {cited.type}{week}; {cited.material_id}, characters {cited.start}–{cited.end})"
    )


def where_of(answer: CitedAnswer) -> str:
    """Which courses were proposed and why, and whether only they were looked in; empty where the asker named them."""
    if not answer.proposed:
        return ""
    looked_in = [each for each in answer.proposed if each.course_id in answer.courses or not answer.narrowed]
    said = "; ".join(f"{each.code or each.name} ({', '.join(each.because)})" for each in looked_in)
    return f"Looked in {said}" if answer.narrowed else f"Looked everywhere, in doubt between {said}"


def confidence_line(answer: CitedAnswer) -> str:
    """The confidence with what it is made of."""
    made = answer.confidence
    return (
        f"Confidence {made.score} ({made.level}): support {made.support:.2f}, strength {made.strength:.2f}, "
        f"agreement {made.agreement:.2f}"
    )


def cost_of(answer: CitedAnswer) -> str:
    """Which model answered and what that cost; or that none was asked."""
    if answer.request_id is None:
        return "nothing was found, so that no model was asked"
    replayed = ", replayed" if answer.replayed else ""
    shown = f"{len(answer.shown)} passage{'s' if len(answer.shown) > 1 else ''} of {answer.context_tokens} tokens"
    return f"{answer.model}, {shown}, {money(answer.cost_usd)}{replayed}"


def as_markdown(answer: CitedAnswer) -> str:
    """An answer as a page."""
    lines = [f"# {_line(answer.question)}", "", _line(answer.text), ""]
    for cited in answer.citations:
        lines += [f"**[{cited.ordinal}]** {_line(place_of(cited))}", "", f"> {_line(cited.quote)}", ""]
    if answer.dropped:
        lines += ["Left out, as their quotes are not in the materials:", ""]
        lines += [f"- {_line(each.text)} ({each.reason})" for each in answer.dropped] + [""]
    lines += ["---", ""]
    if looked_in := where_of(answer):
        lines += [_line(looked_in + ("; the parameter everywhere looks in all" if answer.narrowed else "")), ""]
    return "\n".join([*lines, confidence_line(answer), "", cost_of(answer), ""])


def _line(text: str) -> str:
    """`text`, which may be a material's or a model's, on one line as it is: no HTML, image, link or other Markdown."""
    line = " ".join(_printable(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return _BEGINNING.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\g<0>", line))


def _printable(text: str) -> str:
    """`text`, which may be a material's, without what a terminal would obey."""
    return "".join(each if each.isprintable() or each in "\n\t" else " " for each in text)


def show_turn(out: Console, turn: ChatTurn) -> None:
    """A reply, with the passages that it names."""
    if out.is_terminal:
        out.print(Markdown(_printable(turn.reply)))
    else:
        out.print(_printable(turn.reply), soft_wrap=True, markup=False)
    for cited in turn.references:
        out.print(f"[{cited.ordinal}] {_printable(place_of(cited))}", soft_wrap=True, markup=False)
    for dropped in turn.dropped:
        out.print(f"Not in the materials, and no quotation: {_printable(dropped.text)}", soft_wrap=True, markup=False)


class RefusedLine(BaseModel):
    """A line of a pipe, counted from 1, that could not be said, and why."""

    line: int
    reason: str


class Chatted(BaseModel):
    """What was said in one command."""

    run_id: None = None
    status: str = "completed"
    conversation_id: str | None
    turns: list[ChatTurn]
    refused: list[RefusedLine] = []


class _Threads(BaseModel):
    run_id: None = None
    status: str = "completed"
    rows: list[ThreadSummary]


class _Thread(BaseModel):
    run_id: None = None
    status: str = "completed"
    thread: ThreadDetail


class _Conversations(BaseModel):
    run_id: None = None
    status: str = "completed"
    rows: list[Conversation]


class _Conversation(BaseModel):
    run_id: None = None
    status: str = "completed"
    conversation: Conversation


def show_threads(threads: Sequence[ThreadSummary], *, as_json: bool) -> int:
    """The threads, those that were written in last first."""
    if as_json:
        write_json(_Threads(rows=list(threads)))
        return 0
    rows = [
        (each.id, each.course_id, each.status, f"{each.posts} + {each.answers}", ", ".join(each.tags),
         _printable(each.title))
        for each in threads
    ]  # fmt: skip
    console().print(table("Threads", ("thread", "course", "status", "replies + answers", "tags", "title"), rows))
    return 0


def show_thread(thread: ThreadDetail, *, as_json: bool) -> int:
    """One thread, with what people and the tutor said."""
    if as_json:
        write_json(_Thread(thread=thread))
        return 0
    for line in _thread_lines(thread):
        console().print(_printable(line), soft_wrap=True, markup=False)
    return 0


def _thread_lines(thread: ThreadDetail) -> Iterator[str]:
    tags = f", tags {', '.join(thread.tags)}" if thread.tags else ""
    yield f"{thread.title} ({thread.status}{tags})"
    yield f"Thread {thread.id} of {thread.author_id} in {thread.course_id}, {thread.created_at:%F %R} UTC"
    yield f"\n{thread.content}"
    for post in thread.replies:
        yield f"\n{post.author_id}, {post.created_at:%F %R} UTC:\n{post.content}"
    for answer in thread.tutor_answers:
        confidence = (
            f", confidence {answer.confidence_score} ({answer.confidence_level})" if answer.confidence_level else ""
        )
        yield f"\nThe tutor, {answer.generated_at:%F %R} UTC{confidence}:\n{answer.content}"
        for cited in answer.citations:
            known = f" ({cited.material_id})" if cited.material_id else ""
            yield f"[{cited.ordinal}] {cited.title}{known}: {' '.join((cited.excerpt or '').split())}"


def show_conversations(conversations: Sequence[Conversation], *, as_json: bool) -> int:
    """The conversations, those that were used last first."""
    if as_json:
        write_json(_Conversations(rows=list(conversations)))
        return 0
    rows = [
        (each.id, each.user_id, each.page or each.course_id, each.message_count, each.thread_id,
         f"{each.updated_at or each.created_at:%F %R}", _printable(each.title))
        for each in conversations
    ]  # fmt: skip
    columns = ("conversation", "user", "about", "messages", "thread", "last (UTC)", "title")
    console().print(table("Conversations", columns, rows))
    return 0


def show_conversation(conversation: Conversation, *, as_json: bool) -> int:
    """One conversation with all that was said."""
    if as_json:
        write_json(_Conversation(conversation=conversation))
        return 0
    out = console()
    out.print(_printable(f"{conversation.title} ({conversation.id} of {conversation.user_id})"), markup=False)
    for message in conversation.messages:
        said = f"\n{message.role}, {message.created_at:%F %R} UTC:\n{message.content}"
        out.print(_printable(said), soft_wrap=True, markup=False)
    return 0
