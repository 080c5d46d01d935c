"""One insight written by a model: asked, validated, and used again while it is fresh."""

from __future__ import annotations

import copy
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

from schemas.calls import ChatParameters, Message
from schemas.choices import InsightType
from schemas.insights import SHAPES, TTL_MINUTES, Insight, InsightAnswer, InsightContext
from tasks.ledger.calls import StructuredCompletion, complete_structured
from tasks.ledger.prompts import Prompt
from tasks.ledger.requests import get_request
from tasks.ledger.session import open_ledger
from tasks.ledger.steps import step

PROMPTS = Path(__file__).parent / "prompts"
SYSTEM = Prompt(PROMPTS / "system.md")
CONTEXT = Prompt(PROMPTS / "context.md")

TEMPERATURE = 0.3
ANSWER_TOKENS: dict[InsightType, int] = {"market_brief": 2000, "radar": 3000, "ad_insight": 2000, "risk": 3000}
"""Room for the longest answer that the shape allows; also what a call reserves at worst."""
REASONING_TOKENS = 8000
"""What a reasoning model may think before it answers; reserved like the answer."""

FIGURES = {
    "demand_index": "demand",
    "competition_score": "competition",
    "trend_momentum": "trend momentum",
    "engagement_score": "engagement",
    "ai_opportunity_score": "opportunity",
}
"""What the figures are called to the model; small models mix up columns, so that each is named where it stands."""

Writer = Callable[[InsightContext, str], Coroutine[Any, Any, InsightAnswer]]


def _writer(insight_type: InsightType) -> Writer:
    """The step that writes insights of one type."""
    task = Prompt(PROMPTS / f"{insight_type}.md")

    @step(insight_type, version="1", prompt=task)
    async def write(context: InsightContext, model: str) -> InsightAnswer:
        async with open_ledger() as ledger:
            reasons = (await ledger.providers.describe(model)).reasoning
            stated = ledger.settings.answer_ttl(insight_type)
            completion = await complete_structured(
                _messages(task, context),
                SHAPES[insight_type],
                model=model,
                parameters=ChatParameters(
                    max_tokens=ANSWER_TOKENS[insight_type] + (REASONING_TOKENS if reasons else 0),
                    temperature=TEMPERATURE,
                ),
                output_schema=narrow_terms(SHAPES[insight_type].model_json_schema(), context.terms),
                context=context.model_dump(mode="json", exclude_none=True),
                max_age=stated if stated is not None else timedelta(minutes=TTL_MINUTES[insight_type]),
                insight_type=insight_type,
            )
        return await _answer(completion, context)

    return write


def _messages(task: Prompt, context: InsightContext) -> list[Message]:
    """The context first, in an order of its own, so that the same facts are the same prompt."""
    facts = CONTEXT.render(
        market=context.market,
        niche_terms=sorted(set(context.niche_terms)),
        keywords=[
            {"term": keyword.term, "figures": [f"{FIGURES[name]} {value}" for name, value in keyword.figures.items()]}
            for keyword in sorted(context.keywords, key=lambda keyword: repr(tuple(keyword)))
        ],
    )
    return [
        Message(role="system", content=SYSTEM.text.strip()),
        Message(role="user", content=f"{facts}\n\n{task.render(budget_cents=context.budget_cents)}"),
    ]


async def _answer(completion: StructuredCompletion[Insight], context: InsightContext) -> InsightAnswer:
    rounds = completion.rounds
    replayed = all(item.replayed for item in rounds)
    known = set(context.terms)
    return InsightAnswer(
        insight=completion.value,
        request_id=completion.request_id,
        model=rounds[-1].answered_model,
        replayed=replayed,
        cost_usd=completion.cost_usd,
        saved_usd=await _saved(completion) if replayed else None,
        latency_ms=rounds[-1].latency_ms,
        unknown_terms=sorted({term for term in _terms(completion.value.model_dump()) if term.lower() not in known}),
    )


async def _saved(completion: StructuredCompletion[Insight]) -> Decimal | None:
    """What the rounds have cost when they were first made; None when any of it is unknown."""
    saved = [(await get_request(item.request_id)).saved_usd for item in completion.rounds]
    return None if None in saved else sum((usd for usd in saved if usd is not None), Decimal(0))


def _terms(value: Any) -> Iterator[str]:
    """Every `term` in a dumped insight."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from [part] if name == "term" else _terms(part)
    elif isinstance(value, list):
        for part in value:
            yield from _terms(part)


def narrow_terms(schema: dict[str, Any], terms: list[str]) -> dict[str, Any]:
    """`schema` with every `term` one of `terms`, for models that are held to a schema."""
    narrowed = copy.deepcopy(schema)
    for part in narrowed.get("$defs", {}).values():
        if "term" in part.get("properties", {}):
            part["properties"]["term"] = {"type": "string", "enum": terms}
    return narrowed


WRITERS: dict[InsightType, Writer] = {insight_type: _writer(insight_type) for insight_type in get_args(InsightType)}
