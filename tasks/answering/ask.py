"""A question answered from the materials, with citations that stand in them.

>>> from tasks.retrieval.searching import search
>>> answer = await ask("When is a function differentiable?", search=search, courses=["math221"])
>>> answer.text, [cited.quote for cited in answer.citations], answer.confidence.score
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from blocks.database import database_errors
from schemas.answering import THE_MATERIALS_DO_NOT_SAY, CitedAnswer, ContextLimits, Passage
from schemas.calls import total_cost
from schemas.canonical import require_storable
from schemas.errors import BadInput
from schemas.identifiers import new_id
from schemas.search import CourseChoice, says_something
from tasks.answering.answers import store_answer
from tasks.answering.claims import Checked, check_claims, compose
from tasks.answering.confidence import confidence_of
from tasks.answering.context import choose_passages, context_tokens
from tasks.answering.courses import readable_courses
from tasks.answering.drafting import Draft, draft_answer
from tasks.answering.searching import ChooseCourses, Search
from tasks.ledger.runs import current_run
from tasks.ledger.session import Ledger, open_ledger

HITS = 30
"""Chunks that the context is chosen from."""
LONGEST_QUESTION = 8000
EVERYWHERE = CourseChoice()


async def ask(
    question: str,
    *,
    search: Search,
    choose: ChooseCourses | None = None,
    courses: Sequence[str] = (),
    user: str | None = None,
    thread_id: str | None = None,
    model: str | None = None,
    limits: ContextLimits | None = None,
    project: str | None = None,
) -> CitedAnswer:
    """The answer that the materials give to `question`, stored with its citations, or that they do not say.

    Every sentence of it cites a quote that stands in a chunk that was shown to the model; sentences without one are
    dropped. Where nothing is found, no model is asked.

    Args:
        search: finds the chunks; `tasks.retrieval.searching.search`.
        choose: narrows the search to the courses that the question is about, where no course is named and it is not in
            doubt; `tasks.retrieval.courses.choose_courses`. None: it is never narrowed.
        courses: ids or codes; none: all, or those that `user` is enrolled in.
        user: who asks; only their courses are read, and only they read an answer without a thread.
        thread_id: the thread that is answered, whose row the caller knows.
        limits: how much a model is shown; 5 materials and 2,000 tokens, 3,000 over several courses.

    Raises:
        BadInput: there is no question, it is too long, or it has neither a letter nor a digit.
        NotFound: there is no such course, or the user is not enrolled in it.
        AnswerRejected, BudgetExceeded, ConfigurationError, RetriesExhausted: the model could not be used.
    """
    question = require_question(question)
    require_storable(user, "user")
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                chosen = await readable_courses(connection, courses, user)
        choose = None if courses or len(chosen) == 1 else choose
        shown = await find_passages(search, question, chosen, user, limits or ContextLimits(), project, choose)
        passages, draft = shown.passages, None
        if passages:
            draft = await draft_answer(question, passages, model or ledger.settings.model_for("chat"), user, project)
        answer = _answer(question, shown, draft, chosen, user, thread_id)
        await _store(ledger, answer)
        return answer


def require_question(question: str) -> str:
    """`question` without the blanks around it.

    Raises:
        BadInput: as `require_said`, or it has neither a letter nor a digit.
    """
    said = require_said(question)
    if not says_something(said):
        raise BadInput("there is nothing to look for: the question has neither a letter nor a digit")
    return said


def require_said(said: str) -> str:
    """`said`, which may be no more than a sign, without the blanks around it.

    Raises:
        BadInput: nothing is left of it, it is too long, or Postgres cannot store it.
    """
    require_storable(said, "question")
    if not said.strip():
        raise BadInput("there is no question")
    if len(said) > LONGEST_QUESTION:
        raise BadInput(f"the question has {len(said):,} characters; at most {LONGEST_QUESTION:,} can be asked")
    return said.strip()


@dataclass(frozen=True)
class Shown:
    """The passages that a model is shown, what finding them cost (None where that is not known), and where that was."""

    passages: tuple[Passage, ...] = ()
    cost_usd: Decimal | None = Decimal(0)
    choice: CourseChoice = EVERYWHERE


async def find_passages(
    search: Search,
    question: str,
    courses: Sequence[str],
    user: str | None,
    limits: ContextLimits,
    project: str | None = None,
    choose: ChooseCourses | None = None,
) -> Shown:
    """The best chunks for `question` within `limits`; none where `user` is enrolled in no course."""
    if user is not None and not courses:
        return Shown()
    found = await search(question, courses=courses, limit=HITS, user=user, project=project)
    choice, costs = EVERYWHERE, [found.cost_usd]
    if choose is not None and found.hits:
        choice = await choose(question, found.hits, among=courses)
        if choice.chosen and not {hit.course_id for hit in found.hits} <= set(choice.chosen):
            narrow = await search(question, courses=choice.chosen, limit=HITS, user=user, project=project)
            costs.append(narrow.cost_usd)
            # A course that is named and has nothing is no reason to find nothing.
            found, choice = (narrow, choice) if narrow.hits else (found, choice.model_copy(update={"chosen": ()}))
    looked_in = choice.chosen or courses
    several = len(looked_in) > 1 or len({hit.course_id for hit in found.hits}) > 1
    return Shown(choose_passages(found.hits, limits, several=several), total_cost(costs), choice)


def _answer(
    question: str,
    shown: Shown,
    draft: Draft | None,
    courses: tuple[str, ...],
    user: str | None,
    thread_id: str | None,
) -> CitedAnswer:
    """The draft's sentences that stand, as an answer; of a run it goes by the run's id, so that there is one."""
    passages, choice = shown.passages, shown.choice
    checked = check_claims(draft.answer, passages) if draft else Checked((), ())
    text, citations = compose(checked.supported)
    run = current_run.get()
    asked = draft.model_dump(include={"model", "request_id", "replayed"}) if draft else {}
    return CitedAnswer(
        id=str(run.id if run else new_id()),
        question=question,
        answered=bool(citations),
        text=text or THE_MATERIALS_DO_NOT_SAY,
        citations=citations,
        dropped=checked.dropped,
        confidence=confidence_of(checked),
        shown=tuple(passage.chunk_id for passage in passages),
        context_tokens=context_tokens(passages),
        courses=choice.chosen or courses or tuple(dict.fromkeys(passage.course_id for passage in passages)),
        proposed=choice.proposed,
        narrowed=bool(choice.chosen),
        thread_id=thread_id,
        user=user,
        cost_usd=total_cost([shown.cost_usd, draft.cost_usd if draft else Decimal(0)]),
        **asked,
    )


async def _store(ledger: Ledger, answer: CitedAnswer) -> None:
    with database_errors():
        async with ledger.engine.begin() as connection:
            await store_answer(connection, answer)
