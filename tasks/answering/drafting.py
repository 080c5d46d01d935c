"""A model drafts an answer: the prompt it gets, and its answer in the shape that can be checked."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from schemas.answering import Passage
from schemas.calls import ChatParameters, Message
from tasks.answering.claims import MOST_CLAIMS, DraftAnswer, narrow_schema
from tasks.ledger.calls import complete_structured
from tasks.ledger.fencing import fence_for, quote
from tasks.ledger.prompts import Prompt
from tasks.ledger.session import open_ledger
from tasks.ledger.steps import step

ANSWER = Prompt(Path(__file__).parent / "prompts" / "answer.md")
ANSWER_TOKENS = 1500
REASONING_TOKENS = 8000
"""What a reasoning model may think before it answers; reserved like the answer."""


class Draft(BaseModel):
    """A model's answer before it is checked, and what it cost."""

    model_config = ConfigDict(frozen=True)

    answer: DraftAnswer
    request_id: UUID
    model: str
    cost_usd: Decimal | None
    replayed: bool


@step("answer", version="1", prompt=ANSWER)
async def draft_answer(
    question: str, passages: tuple[Passage, ...], model: str, user: str | None = None, project: str | None = None
) -> Draft:
    """What `model` answers to `question` from `passages`.

    Raises:
        AnswerRejected: no answer fitted the schema.
        BudgetExceeded, ConfigurationError, RetriesExhausted: as `complete_structured`.
    """
    async with open_ledger() as ledger:
        reasons = (await ledger.providers.describe(model)).reasoning
        done = await complete_structured(
            answer_messages(question, passages),
            DraftAnswer,
            model=model,
            parameters=ChatParameters(max_tokens=ANSWER_TOKENS + (REASONING_TOKENS if reasons else 0), temperature=0.0),
            output_schema=narrow_schema(passages),
            user=user,
            project=project,
            purpose="answer",
        )
    return Draft(
        answer=done.value,
        request_id=done.request_id,
        model=done.rounds[-1].model,
        cost_usd=done.cost_usd,
        replayed=all(each.replayed for each in done.rounds),
    )


def answer_messages(question: str, passages: Sequence[Passage]) -> list[Message]:
    """Instructions in the system message; in the user's, between tags that no passage can close, all that is quoted."""
    shown = [f"{passage.heading}\n\n{passage.content}" for passage in passages]
    fence = fence_for(question, shown)
    quoted = [quote("passage", text, fence, number=each.number) for each, text in zip(passages, shown, strict=True)]
    return [
        Message(role="system", content=ANSWER.render(fence=fence, most=MOST_CLAIMS)),
        Message(role="user", content="\n".join([*quoted, quote("question", question, fence)])),
    ]
