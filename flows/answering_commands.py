"""The commands of answers, conversations and threads."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any
from uuid import UUID

from cyclopts import App, Parameter

from flows.command_options import AtLeastOne, Bare, Fresh, Json
from schemas.choices import ThreadStatus
from schemas.errors import BadInput

Courses = Annotated[list[str] | None, Parameter(name="--course", negative="", help="Id or code; may be given again.")]
Tags = Annotated[list[str] | None, Parameter(name="--tag", negative="", help="A tag; may be given again.")]
User = Annotated[str, Parameter(help="Who does it, and sees what they may see; an operator when not given.")]
Text = Annotated[str, Parameter(allow_leading_hyphen=True)]

threads = App(name="threads", help="Threads of the forum: list, read, ask, answer, change, make of a conversation.")
conversations = App(name="conversations", help="Conversations with the assistant: list, read, clean up.")


def ask(
    question: Text,
    *,
    course: Courses = None,
    user: User = "",
    model: str = "",
    materials: AtLeastOne = 5,
    tokens: int | None = None,
    project: str = "",
    everywhere: Annotated[bool, Parameter(negative="")] = False,
    fresh: Fresh = False,
    bare: Bare = False,
    json: Json = False,
) -> int:
    """Answer a question from course materials, with citations that stand in them, or say that they do not say.

    Parameters
    ----------
    question
        What to answer.
    model
        Answers; HEADRACE_CHAT_MODEL when not given.
    materials
        At most so many materials are shown to the model.
    tokens
        At most so many tokens of them; 2,000 when not given, 3,000 over several courses.
    project
        Whose budget pays; HEADRACE_PROJECT when not given.
    everywhere
        Look in all courses; without it and without --course, in those that the question is about.
    """
    parameters = {"question": question, "courses": course or [], "user": user, "model": model, "project": project}
    more = {"materials": materials, "tokens": tokens, "fresh": fresh, "everywhere": everywhere}
    return go_on_with_answer(parameters | more, None, bare=bare, as_json=json)


def go_on_with_answer(parameters: dict[str, Any], run: UUID | None, *, bare: bool, as_json: bool) -> int:
    """The question with `parameters`, begun or gone on with, is answered and shown."""
    from flows.answering import answer_question
    from flows.answering_presentation import show_answer
    from flows.running import run_flow

    report = asyncio.run(run_flow(answer_question, parameters, resume=run, bare=bare))
    return show_answer(report, as_json=as_json)


def chat(
    *,
    user: Annotated[str, Parameter(help="Whose conversation it is; who is logged in here when not given.")] = "",
    conversation: str = "",
    page: str = "",
    fact: Annotated[list[str] | None, Parameter(negative="")] = None,
    course: Courses = None,
    new: Annotated[bool, Parameter(negative="")] = False,
    history: Annotated[int, Parameter()] = 20,
    model: str = "",
    project: str = "",
    bare: Bare = False,
    json: Json = False,
) -> int:
    """Talk with an assistant that remembers: on a terminal, or one turn for each line of a pipe.

    Parameters
    ----------
    conversation
        Id of one to go on with.
    page
        What you look at: portfolio, tax_planning, or a page of HEADRACE_CHAT_PAGES. Its conversation goes on.
    fact
        NAME=VALUE that is known of the page, as state=NY; may be given again.
    new
        Begin another conversation about the page.
    history
        So many messages are remembered as they were said, earlier ones as a summary.
    model
        Replies; HEADRACE_CHAT_MODEL when not given.
    project
        Whose budget pays; HEADRACE_PROJECT when not given.
    """
    from flows.chatting import Session, hold_conversation

    session = Session(
        user=user,
        conversation=conversation or None,
        page=page or None,
        facts=_facts(fact or []),
        courses=course or [],
        history=history,
        begin_anew=new,
        model=model or None,
        project=project or None,
    )
    return hold_conversation(session, bare=bare, as_json=json)


def _facts(given: list[str]) -> dict[str, str]:
    facts = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise BadInput(f"a fact is written NAME=VALUE, as state=NY; not {each!r}")
        facts[name] = value
    return facts


@threads.command(name="list")
def list_all(
    *,
    user: User = "",
    course: Courses = None,
    status: ThreadStatus | None = None,
    tag: str = "",
    limit: AtLeastOne = 20,
    json: Json = False,
) -> int:
    """List the threads that were written in last.

    Parameters
    ----------
    status
        Only threads that are so.
    tag
        Only threads that have it.
    limit
        How many are listed.
    """
    from flows.answering_presentation import show_threads
    from tasks.answering.threads import list_threads

    found = list_threads(user or None, courses=course or [], status=status, tag=tag or None, limit=limit)
    return show_threads(_run(found), as_json=json)


@threads.command
def show(thread: str, *, user: User = "", json: Json = False) -> int:
    """Show a thread with what people and the tutor said."""
    from tasks.answering.threads import read_thread

    return _show_thread(read_thread(thread, user or None), as_json=json)


@threads.command(name="ask")
def begin(course: str, content: Text, *, user: str, title: str = "", tag: Tags = None, json: Json = False) -> int:
    """Begin a thread in a course.

    Parameters
    ----------
    course
        Id or code of a course that the user is enrolled in.
    content
        What is asked.
    user
        Who asks.
    title
        The beginning of the content when not given.
    """
    from tasks.answering.threads import begin_thread

    return _show_thread(begin_thread(course, content, author=user, title=title, tags=tag or []), as_json=json)


@threads.command
def answer(
    thread: str,
    content: Text = "",
    *,
    user: User = "",
    model: str = "",
    project: str = "",
    fresh: Fresh = False,
    bare: Bare = False,
    json: Json = False,
) -> int:
    """Answer a thread: with what a person says, or without that by the tutor, from the materials of its course.

    Parameters
    ----------
    content
        What the user says.
    model
        Answers as the tutor; HEADRACE_CHAT_MODEL when not given.
    project
        Whose budget pays; HEADRACE_PROJECT when not given.
    """
    from tasks.answering.threads import reply_to_thread

    if not content:
        parameters = {"thread": thread, "user": user, "model": model, "project": project, "fresh": fresh}
        return go_on_with_answer(parameters, None, bare=bare, as_json=json)
    if not user:
        raise BadInput("say with --user who answers")
    return _show_thread(reply_to_thread(thread, content, author=user), as_json=json)


@threads.command
def update(
    thread: str,
    *,
    status: ThreadStatus | None = None,
    tag: Tags = None,
    no_tags: Annotated[bool, Parameter(negative="")] = False,
    user: User = "",
    json: Json = False,
) -> int:
    """Change the status of a thread, or its tags for the ones given.

    Parameters
    ----------
    status
        What it is from now on.
    no_tags
        Take all tags away.
    """
    from tasks.answering.threads import update_thread

    tags: list[str] | None = [] if no_tags else tag
    return _show_thread(update_thread(thread, status=status, tags=tags, user=user or None), as_json=json)


@threads.command
def convert(conversation: str, *, course: str = "", tag: Tags = None, user: User = "", json: Json = False) -> int:
    """Make a conversation a thread, begun by the user who had it.

    Parameters
    ----------
    conversation
        Its id.
    course
        Id or code of the course, where the conversation is of none.
    """
    from tasks.answering.threads import convert_conversation

    made = convert_conversation(conversation, course=course or None, tags=tag or [], user=user or None)
    return _show_thread(made, as_json=json)


@conversations.command(name="list")
def list_conversations(*, user: User = "", limit: AtLeastOne = 20, json: Json = False) -> int:
    """List the conversations that were used last.

    Parameters
    ----------
    limit
        How many are listed.
    """
    from flows.answering_presentation import show_conversations
    from tasks.answering import conversations as kept

    return show_conversations(_run(kept.list_conversations(user or None, limit=limit)), as_json=json)


@conversations.command(name="show")
def show_conversation(conversation: str, *, user: User = "", json: Json = False) -> int:
    """Show all that was said in a conversation."""
    from flows import answering_presentation
    from tasks.answering.conversations import load_conversation

    found = _run(load_conversation(conversation, user=user or None))
    return answering_presentation.show_conversation(found, as_json=json)


@conversations.command
def clean(*, bare: Bare = False, json: Json = False) -> int:
    """Delete the messages that are older than 90 days, and the conversations that they leave empty."""
    from flows.answering import clean_old_conversations
    from flows.presentation import say
    from flows.running import run_flow

    return say(asyncio.run(run_flow(clean_old_conversations, {}, bare=bare)), as_json=json)


def _show_thread(reading: Coroutine[Any, Any, Any], *, as_json: bool) -> int:
    from flows import answering_presentation

    return answering_presentation.show_thread(_run(reading), as_json=as_json)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)
