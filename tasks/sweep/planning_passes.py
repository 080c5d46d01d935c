"""What measuring and judging the answers of a sweep is going to take, before there are any."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

from schemas.calls import ChatCall, EmbeddingCall, ProviderCall, total_cost
from schemas.sweep import JudgeSpec, SweepSpec
from schemas.sweep_results import ModelPlan
from tasks.ledger.estimates import describe_model, estimate_call
from tasks.ledger.session import Ledger
from tasks.sweep.grid import Grid
from tasks.sweep.passes.meaning import CHUNK
from tasks.sweep.quality.judging import Judgement, count_pairs, judge_messages, judge_parameters
from tasks.sweep.strategies import most_calls

MOST_COUNTED = 50
"""Prompts whose tokens are counted; the others are taken to be as long."""
USUAL_VERDICT_TOKENS = 80
"""Of a verdict with its two sentences; nobody probes a judge, who would need answers for that."""
WORD = "the"
"""Counts as one token, whoever counts."""


@dataclass(frozen=True)
class AnswerLength:
    """Tokens of an answer, on average: what is expected, and at most."""

    expected: int
    most: int


async def plan_judge(ledger: Ledger, grid: Grid, length: AnswerLength) -> ModelPlan | None:
    """What the judge of the spec is going to take; None where it wants none.

    Raises:
        ConfigurationError: there is no such model.
    """
    judge = grid.spec.judge
    if judge is None or judge.model is None:
        return None
    calls = 2 * len(grid.spec.prompts) * count_pairs(most_calls(grid) // len(grid.spec.prompts), judge.opponents)
    usual = await _mean(ledger, await _verdict_calls(ledger, grid.spec, judge, length.expected, usual=True))
    most = await _mean(ledger, await _verdict_calls(ledger, grid.spec, judge, length.most, usual=False))
    return ModelPlan(
        model=judge.model,
        calls=calls,
        probed=False,
        input_tokens=round(usual.tokens * calls),
        output_tokens=USUAL_VERDICT_TOKENS * calls,
        cost_usd=_times(usual.usd, calls),
        most_usd=_times(most.usd, calls),
        seconds=None,
    )


async def plan_meaning(ledger: Ledger, grid: Grid, length: AnswerLength) -> ModelPlan | None:
    """What the embeddings of the spec are going to take, at most: sentences that recur are embedded once.

    Raises:
        ConfigurationError: there is no such model.
    """
    meaning = grid.spec.meaning
    if meaning is None or meaning.model is None:
        return None
    answers = most_calls(grid)
    of_prompts = await _mean(ledger, [_embedding(meaning.model, prompt) for prompt in _counted(grid.spec)])
    usual = await _mean(ledger, [_embedding(meaning.model, _text_of(length.expected))])
    most = await _mean(ledger, [_embedding(meaning.model, _text_of(length.most))])
    prompts = len(grid.spec.prompts)
    return ModelPlan(
        model=meaning.model,
        calls=-(-answers // CHUNK),
        probed=False,
        input_tokens=round(usual.tokens * answers + of_prompts.tokens * prompts),
        output_tokens=0,
        cost_usd=total_cost([_times(usual.usd, answers), _times(of_prompts.usd, prompts)]),
        most_usd=total_cost([_times(most.usd, answers), _times(of_prompts.usd, prompts)]),
        seconds=None,
    )


@dataclass(frozen=True)
class _Mean:
    """Of calls: tokens of input and dollars."""

    tokens: float
    usd: Decimal | None


async def _mean(ledger: Ledger, calls: list[ChatCall] | list[EmbeddingCall]) -> _Mean:
    asked: list[ProviderCall] = [*calls]
    described = await describe_model(ledger, asked[0])
    estimates = [await estimate_call(ledger, call, described) for call in asked]
    usd = total_cost(each.usd for each in estimates)
    tokens = sum(each.input_tokens for each in estimates) / len(estimates)
    return _Mean(tokens, None if usd is None else usd / len(estimates))


async def _verdict_calls(
    ledger: Ledger, spec: SweepSpec, judge: JudgeSpec, tokens: int, *, usual: bool
) -> list[ChatCall]:
    """A call for each prompt that is counted, on two answers of so many tokens."""
    assert judge.model is not None
    parameters = judge_parameters(reasons=(await ledger.providers.describe(judge.model)).reasoning)
    if usual:
        parameters = parameters.model_copy(update={"max_tokens": USUAL_VERDICT_TOKENS})
    answer = _text_of(tokens)
    return [
        ChatCall(
            model=judge.model,
            messages=tuple(judge_messages(prompt, answer, answer)),
            parameters=parameters,
            output_schema=Judgement.model_json_schema(),
        )
        for prompt in _counted(spec)
    ]


def _embedding(model: str, text: str) -> EmbeddingCall:
    return EmbeddingCall(model=model, texts=(text,))


def _counted(spec: SweepSpec) -> list[str]:
    return list(islice((prompt for prompt in spec.prompts), MOST_COUNTED))


def _text_of(tokens: int) -> str:
    return " ".join([WORD] * max(1, tokens))


def _times(usd: Decimal | None, count: int) -> Decimal | None:
    return None if usd is None else usd * count
