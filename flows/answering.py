"""Questions answered from course materials, and conversations that are too old.

from flows.answering import answer_question
from flows.running import run_flow

report = await run_flow(answer_question, {"question": "When is a function differentiable?", "courses": ["math221"]})
print(report.answer.text, report.answer.citations)
"""

from __future__ import annotations

import logging
from typing import Any

from prefect import flow
from pydantic import BaseModel, ValidationError

from flows.answering_presentation import as_markdown
from flows.artifacts import publish_page
from flows.running import note_run, prefect_flow_run_id
from schemas.answering import AnswerReport, ContextLimits
from schemas.errors import BadInput
from tasks.answering.ask import LONGEST_QUESTION, ask, require_question
from tasks.answering.conversations import clean_conversations
from tasks.answering.searching import ChooseCourses, Search
from tasks.answering.threads import read_thread
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.session import open_ledger

log = logging.getLogger("headrace")

ANSWER_QUESTION = "answer-question"
SUBJECT = 100
"""Characters of a question that its run is called by."""


@flow(name=ANSWER_QUESTION, persist_result=False)
async def answer_question(
    question: str = "",
    courses: list[str] | None = None,
    user: str = "",
    thread: str = "",
    model: str = "",
    materials: int = 5,
    tokens: int | None = None,
    project: str = "",
    fresh: bool = False,
    everywhere: bool = False,
) -> AnswerReport:
    """Answer a question from course materials; every sentence cites words that stand in them.

    Args:
        question: What is asked; empty: what the thread asks
        courses: Ids or codes of the courses to look in; none: those the question is about, of all or of the user's
        user: Who asks; only materials of their courses are read; empty: an operator, who may read all
        thread: Id of the forum's thread that is answered; empty: none
        model: LiteLLM name of the model; empty: HEADRACE_CHAT_MODEL
        materials: At most so many materials are shown to the model
        tokens: At most so many tokens of them; empty: 2,000, and 3,000 over several courses
        project: Whose budget pays; empty: HEADRACE_PROJECT
        fresh: Ask the model anew instead of using a stored answer
        everywhere: Look in all courses, or all of the user's, whatever the question seems to be about

    Raises:
        BadInput, NotFound: there is no question, course or thread of that kind; nothing was begun.
        BudgetExceeded, RetriesExhausted, AnswerRejected: the model could not be used; the run can be resumed.
    """
    parameters: dict[str, Any] = {"question": question, "courses": courses, "user": user, "thread": thread}
    parameters |= {"model": model, "materials": materials, "tokens": tokens, "project": project, "fresh": fresh}
    parameters |= {"everywhere": everywhere}
    limits = _limits(materials, tokens)
    async with open_ledger() as ledger:
        asked, looked_in = await _asked(question, courses or [], user or None, thread)
        async with open_run(_request(asked, parameters, ledger.settings.project)) as run:
            note_run(run)
            answer = await ask(
                asked,
                search=retrieval(),
                choose=None if everywhere else course_choice(),
                courses=looked_in,
                user=user or None,
                thread_id=thread or None,
                model=model or None,
                limits=limits,
            )
            run.result = {"answer_id": answer.id, "answered": answer.answered}
    report = AnswerReport(run_id=run.id, answer=answer)
    await publish_page(as_markdown(report.answer), report.run_id, ANSWER_QUESTION)
    return report


def _limits(materials: int, tokens: int | None) -> ContextLimits:
    """How much the model is shown.

    Raises:
        BadInput: it is too little to answer from.
    """
    try:
        return ContextLimits(materials=materials, tokens=tokens)
    except ValidationError:
        raise BadInput("a model is shown at least 1 material and 100 tokens") from None


def _request(asked: str, parameters: dict[str, Any], project: str) -> RunRequest:
    """The run of a question, called by its beginning; `project` is that of the settings."""
    return RunRequest(
        flow=ANSWER_QUESTION,
        subject=" ".join(asked.split())[:SUBJECT],
        project=parameters["project"] or project,
        parameters=parameters,
        user=parameters["user"] or None,
        fresh=parameters["fresh"],
        prefect_flow_run_id=prefect_flow_run_id(),
    )


async def _asked(question: str, courses: list[str], user: str | None, thread: str) -> tuple[str, list[str]]:
    """What is asked, and of which courses: a thread's are its own.

    Raises:
        BadInput: nothing is asked.
        NotFound: there is no such thread in a course of the user.
    """
    if not thread:
        return require_question(question), courses
    if courses:
        raise BadInput("a thread is answered from its own course: name no others")
    found = await read_thread(thread, user)
    asked = question or f"{found.title}\n\n{found.content}"[:LONGEST_QUESTION]
    return require_question(asked), [found.course_id]


def retrieval() -> Search:
    """The search of the materials."""
    from tasks.retrieval.searching import search

    return search


def course_choice() -> ChooseCourses:
    """What says which courses a question is about."""
    from tasks.retrieval.courses import choose_courses

    return choose_courses


class Cleaned(BaseModel):
    """What retention took away."""

    run_id: None = None
    status: str = "completed"
    messages: int

    @property
    def message(self) -> str:
        """For people."""
        return f"{self.messages:,} messages older than 90 days are gone"


@flow(name="clean-conversations", persist_result=False)
async def clean_old_conversations() -> Cleaned:
    """Delete the messages of conversations that are older than 90 days, and the conversations they leave empty."""
    return Cleaned(messages=await clean_conversations())
