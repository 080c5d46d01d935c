"""What a sweep is going to be: calls, tokens, dollars and minutes, before anything but a probe is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

from sqlalchemy import text

from blocks.database import database_errors
from schemas.calls import ChatCall, ChatParameters, CostEstimate, ModelInfo, total_cost
from schemas.errors import BadInput
from schemas.settings import Settings
from schemas.sweep import SweepSpec
from schemas.sweep_results import ModelPlan, SweepPlan
from tasks.ledger.estimates import describe_model, estimate_call
from tasks.ledger.gateway import CallOutcome, answer_call, call_key
from tasks.ledger.scoping import scope_of
from tasks.ledger.session import Ledger
from tasks.sweep.cells import PURPOSE, Cell
from tasks.sweep.grid import Combination, Grid
from tasks.sweep.planning_passes import AnswerLength, plan_judge, plan_meaning
from tasks.sweep.strategies import LEARNING, asking, most_calls

MOST_LOOKED_UP = 20_000
"""Calls whose answers are looked for in the ledger."""
MOST_COUNTED = 200
"""Prompts whose tokens are counted; the others are taken to be as long."""


def with_models(spec: SweepSpec, settings: Settings) -> SweepSpec:
    """`spec` with the configured model where it names none.

    Raises:
        BadInput: it names that one, too.
    """
    update: dict[str, object] = {"models": tuple(model or settings.model_for("chat") for model in spec.models)}
    if spec.judge is not None:
        update["judge"] = spec.judge.model_copy(update={"model": spec.judge.model or settings.model_for("judge")})
    if spec.meaning is not None:
        model = spec.meaning.model or settings.model_for("embedding")
        update["meaning"] = spec.meaning.model_copy(update={"model": model})
    named = spec.model_copy(update=update)
    if doubled := [model for place, model in enumerate(named.models) if model in named.models[:place]]:
        raise BadInput(f"models: {doubled[0]} is there twice, once as the model that is configured")
    return named


async def plan_sweep(
    ledger: Ledger, spec: SweepSpec, *, project: str = "", probe: bool = True, fresh: bool = False
) -> SweepPlan:
    """What `spec` comes to.

    Args:
        spec: whose models are all named.
        probe: ask each model once, for the first of its combinations: the sweep finds that answer in the ledger.
        fresh: the sweep will take none of the answers that the ledger has.

    Raises:
        BadInput: there are more combinations than anybody would wait for.
        ConfigurationError, BudgetExceeded, RetriesExhausted: a model cannot be called; nothing more will be asked.
    """
    grid = Grid(spec)
    calls = most_calls(grid)
    plans, probes = [], []
    for place, model in enumerate(str(name) for name in spec.models):
        share = calls // len(spec.models)
        described = await describe_model(ledger, _call(Cell(grid[_first_with(grid, place)], 0)))
        probed = await _probe(ledger, grid, place, project) if probe else None
        probes += [probed] if probed else []
        plans.append(await _plan_model(ledger, grid, model, share, described, probed))
    length = AnswerLength(round(sum(plan.output_tokens for plan in plans) / calls), _most_tokens(spec))
    judge, meaning = await plan_judge(ledger, grid, length), await plan_meaning(ledger, grid, length)
    passes = [each for each in (judge, meaning) if each is not None]
    answered = 0 if fresh else await _count_answered(ledger, grid, project)
    left = Decimal(calls - (answered or 0)) / calls
    return SweepPlan(
        name=spec.name,
        strategy=spec.strategy.name,
        combinations=calls // spec.response_count,
        calls=calls,
        grid=grid.size,
        answered=answered,
        models=tuple(plans),
        judge=judge,
        meaning=meaning,
        input_tokens=sum(plan.input_tokens for plan in (*plans, *passes)),
        output_tokens=sum(plan.output_tokens for plan in (*plans, *passes)),
        cost_usd=total_cost([_of(total_cost(plan.cost_usd for plan in plans), left), *(p.cost_usd for p in passes)]),
        most_usd=total_cost([_of(total_cost(plan.most_usd for plan in plans), left), *(p.most_usd for p in passes)]),
        max_cost_usd=spec.max_cost_usd,
        probe_usd=total_cost(each.cost_usd for each in probes) if probes else None,
        minutes=_minutes(plans, left),
    )


def _of(usd: Decimal | None, share: Decimal) -> Decimal | None:
    return None if usd is None else usd * share


def _minutes(plans: list[ModelPlan], share: Decimal) -> float | None:
    """Models are asked one after the other, but for what is on its way."""
    seconds = [plan.seconds for plan in plans]
    return None if None in seconds else sum(each or 0.0 for each in seconds) * float(share) / 60


def _first_with(grid: Grid, place: int) -> int:
    """Number of the first combination with the model at `place`."""
    places = [0] * (1 + len(grid.setting_axes))
    places[2] = place
    return grid.setting_at(places[1:])


def _call(cell: Cell) -> ChatCall:
    return ChatCall(model=str(cell.combination.model), messages=cell.messages, parameters=cell.parameters)


async def _probe(ledger: Ledger, grid: Grid, place: int, project: str) -> CallOutcome:
    scope = scope_of(ledger, project or None, None, PURPOSE, 0, None)
    return await answer_call(ledger, _call(Cell(grid[_first_with(grid, place)], 0)), scope)


def _token_limits(spec: SweepSpec) -> list[int]:
    said = spec.parameter_ranges.get("max_tokens", (Decimal(ChatParameters().max_tokens),))
    return [int(said[place]) for place in range(len(said))]


def _most_tokens(spec: SweepSpec) -> int:
    limits = _token_limits(spec)
    return round(sum(limits) / len(limits))


@dataclass(frozen=True)
class _Lengths:
    """Tokens of an answer, on average over the values of `max_tokens`."""

    most: int
    expected: int

    @classmethod
    def of(cls, spec: SweepSpec, probed: CallOutcome | None) -> _Lengths:
        limits, most = _token_limits(spec), _most_tokens(spec)
        usage = probed.reply.usage if probed else None
        if usage is None or probed is None or probed.reply.finish_reason == "length":
            return cls(most, most)
        return cls(most, max(1, round(sum(min(usage.output_tokens, limit) for limit in limits) / len(limits))))


async def _plan_model(
    ledger: Ledger, grid: Grid, model: str, calls: int, described: ModelInfo, probed: CallOutcome | None
) -> ModelPlan:
    lengths = _Lengths.of(grid.spec, probed)
    most = [await estimate_call(ledger, call, described) for call in _longest(grid, model, lengths.most)]
    expected = [await estimate_call(ledger, call, described) for call in _longest(grid, model, lengths.expected)]
    tokens = sum(each.input_tokens for each in most) / len(most)
    return ModelPlan(
        model=model,
        calls=calls,
        probed=probed is not None,
        input_tokens=round(tokens * calls),
        output_tokens=lengths.expected * calls,
        cost_usd=_mean_usd(expected, calls),
        most_usd=_mean_usd(most, calls),
        seconds=_seconds(ledger.settings, described, calls, lengths, probed),
    )


def _longest(grid: Grid, model: str, max_tokens: int) -> Iterator[ChatCall]:
    """A call for each pair of prompts, or as many as are counted."""
    spec = grid.spec
    pairs = ((prompt, system) for prompt in spec.prompts for system in spec.system_prompts)
    for prompt, system in islice(pairs, MOST_COUNTED):
        asked = Combination(0, prompt, system, model, ())
        yield ChatCall(model=model, messages=Cell(asked, 0).messages, parameters=ChatParameters(max_tokens=max_tokens))


def _mean_usd(estimates: list[CostEstimate], calls: int) -> Decimal | None:
    usd = total_cost(each.usd for each in estimates)
    return None if usd is None else usd / len(estimates) * calls


def _seconds(
    settings: Settings, model: ModelInfo, calls: int, lengths: _Lengths, probed: CallOutcome | None
) -> float | None:
    """Of all calls, if each takes as long as the probe for its tokens, as many at once as the limits allow."""
    if probed is None:
        return None
    usage = probed.reply.usage
    longer = lengths.expected / usage.output_tokens if usage and usage.output_tokens else 1.0
    own = [model.limits.parallel_calls, settings.model_parallel_calls] if not model.local else [1]
    at_once = min([settings.parallel_calls, *(limit for limit in own if limit)])
    seconds = calls * probed.latency_ms / 1000 * longer / at_once
    minute = model.limits.requests_per_minute or (0 if model.local else settings.model_requests_per_minute)
    return max(seconds, 60.0 * calls / minute) if minute else seconds


_ANSWERED = text("SELECT count(*) FROM answers WHERE key = ANY(:keys) AND status = 'answered'")


async def _count_answered(ledger: Ledger, grid: Grid, project: str) -> int | None:
    """Calls that the ledger has an answer to; None where what is asked depends on answers, or is too much."""
    if grid.spec.strategy.name in LEARNING or most_calls(grid) > MOST_LOOKED_UP:
        return None
    models = {str(name): await describe_model(ledger, _call(Cell(grid[_first_with(grid, place)], 0)))
              for place, name in enumerate(grid.spec.models)}  # fmt: skip
    keys = []
    for cell in next(asking(grid)):
        call = _call(cell)
        scope = scope_of(ledger, project or None, None, PURPOSE, cell.repetition, None)
        keys.append(call_key(call, models[call.model], scope))
    with database_errors():
        async with ledger.engine.connect() as connection:
            return int((await connection.execute(_ANSWERED, {"keys": keys})).scalar_one())
