"""What a report says, read from the ledger in one snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, text

from schemas.calls import total_cost
from schemas.sweep import PARAMETERS
from schemas.sweep_reports import (
    AnswerPair,
    CallCounts,
    Costs,
    FailureReason,
    ReportContents,
    ReportedResponse,
)
from schemas.sweep_statistics import SweepAnalysis
from tasks.sweep.experiments import STATUS_NOW, WHO_ASKS
from tasks.sweep.observing import ObservedExperiment, read_experiment
from tasks.sweep.quality.metrics import METRICS
from tasks.sweep.quality.scoring import OVERALL
from tasks.sweep.reports.grids import combination_means, heat_maps
from tasks.sweep.statistics.analysis import analyse, headline

AT_ONCE = 500
"""Rows of responses that are held beside what is made of them."""
_EVERY_FIELD = set(ReportedResponse.model_fields)
"""Said once for all responses: a set of each would take as much memory as all else in it but the answer."""
PAIRS_OF_A_PROMPT = 3
MOST_PAIRS = 6

_EXPERIMENT = text(f"""
    SELECT experiments.*, {STATUS_NOW} AS status_now FROM experiments {WHO_ASKS} WHERE experiments.id = :experiment
""")
_CHANGED = text("""
    SELECT greatest(max(responses.created_at), max(quality_metrics.created_at)) FROM responses
    LEFT JOIN quality_metrics ON response_id = responses.id WHERE experiment_id = :experiment
""")
_RESPONSES = text(f"""
    SELECT responses.*, coalesce(responses.prompt, experiments.prompt) AS asked,
           coalesce(responses.model, experiments.model) AS of_model, llm_requests.attempt, llm_requests.saved_usd,
           metrics, scores
    FROM responses JOIN experiments ON experiments.id = experiment_id
    LEFT JOIN llm_requests ON llm_requests.id = request_id
    LEFT JOIN LATERAL (
        SELECT array_agg(metric) AS metrics, array_agg(score) AS scores FROM quality_metrics
        WHERE response_id = responses.id AND analysis_version = ANY(:versions)
    ) AS scored ON true
    WHERE experiment_id = :experiment
    ORDER BY coalesce(responses.model, experiments.model) COLLATE "C" NULLS FIRST,
             system_prompt COLLATE "C" NULLS FIRST, coalesce(responses.prompt, experiments.prompt) COLLATE "C",
             {", ".join(f"responses.{name} NULLS FIRST" for name in PARAMETERS)}, repetition, responses.created_at,
             responses.id COLLATE "C"
""")


@dataclass(frozen=True)
class StoredExperiment:
    """An experiment as it was at one moment: its row, its responses, and these as statistics take them."""

    row: Row[Any]
    responses: tuple[ReportedResponse, ...]
    observed: ObservedExperiment
    changed: datetime | None


def read_stored(connection: Connection, experiment: str, analysis_version: str = "") -> StoredExperiment:
    """All that a report of `experiment` needs, as it is in this transaction, which must be one snapshot.

    Args:
        experiment: its id or name.
        analysis_version: of the scores; by default those of today, or else the version most of them have.

    Raises:
        NotFound: there is no such experiment, or it has no scores of that version.
        BadInput: there are several of that name.
    """
    observed = read_experiment(connection, experiment, analysis_version)
    values = {"experiment": observed.id, "versions": list(observed.versions)}
    return StoredExperiment(
        row=connection.execute(_EXPERIMENT, values).one(),
        responses=tuple(_read_responses(connection, values)),
        observed=observed,
        changed=connection.execute(_CHANGED, values).scalar_one(),
    )


def conclude(stored: StoredExperiment) -> ReportContents:
    """All that a report says; of a large sweep, statistics take a while, for which no transaction need stay open."""
    observed, row = stored.observed, stored.row
    analysis = _analysis(observed)
    responses = stored.responses
    metrics = _metrics(responses)
    metric = headline(analysis.metrics) if analysis.responses else None
    spec: dict[str, Any] = row.spec or _older_spec(row)
    return ReportContents(
        experiment_id=row.id,
        name=row.name,
        description=row.description,
        status=row.status_now,
        error_message=row.error_message,
        project=row.project,
        run_id=row.run_id,
        tags=tuple(row.tags),
        created_at=row.created_at,
        completed_at=row.completed_at,
        as_of=max(time for time in (row.created_at, row.updated_at, row.completed_at, stored.changed) if time),
        spec=spec,
        analysis_version=observed.analysis_version,
        metric=metric,
        metrics=metrics,
        calls=_calls(row.total_calls, responses),
        costs=_costs(spec, responses),
        failures=_failures(responses),
        analysis=analysis,
        heat_maps=heat_maps(observed.observations, metric, analysis.interactions) if metric else (),
        combinations=combination_means(observed.observations, metric) if metric else (),
        pairs=best_and_worst(responses, metric) if metric else (),
        responses=responses,
    )


def _analysis(observed: ObservedExperiment) -> SweepAnalysis:
    return analyse(
        observed.observations,
        experiment_id=observed.id,
        name=observed.name,
        analysis_version=observed.analysis_version,
    )


def _read_responses(connection: Connection, values: Mapping[str, Any]) -> Iterator[ReportedResponse]:
    """The responses in their order; a prompt that many have is in memory once."""
    prompts: dict[Any, Any] = {}
    rows = connection.execute(_RESPONSES.execution_options(yield_per=AT_ONCE), values)
    for number, row in enumerate(rows, 1):
        yield _response(number, row, *(prompts.setdefault(said, said) for said in (row.asked, row.system_prompt)))


def _response(number: int, row: Row[Any], prompt: str, system_prompt: str | None) -> ReportedResponse:
    scores = dict(zip(row.metrics or (), row.scores or (), strict=True))
    return ReportedResponse.model_construct(
        _fields_set=_EVERY_FIELD,
        number=number,
        id=row.id,
        prompt=prompt,
        system_prompt=system_prompt,
        model=row.of_model,
        parameters={name: getattr(row, name) for name in PARAMETERS if getattr(row, name) is not None},
        repetition=row.repetition,
        status=row.status,
        content=row.content,
        finish_reason=row.finish_reason,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        latency_ms=row.latency_ms,
        cost_usd=row.cost_usd,
        saved_usd=row.saved_usd,
        replayed=row.replayed,
        attempts=row.attempt,
        error_class=row.error_class,
        error_message=row.error_message,
        created_at=row.created_at,
        scores={name: scores[name] for name in sorted(scores, key=_place)},
    )


_ORDER = (OVERALL, *METRICS)


def _place(metric: str) -> tuple[int, str]:
    return (_ORDER.index(metric) if metric in _ORDER else len(_ORDER), metric)


def _metrics(responses: Sequence[ReportedResponse]) -> tuple[str, ...]:
    return tuple(sorted({metric for response in responses for metric in response.scores}, key=_place))


def _older_spec(row: Row[Any]) -> dict[str, Any]:
    """What the older laboratory kept of what was asked for."""
    bounds = {f"{name}_{end}" for name in PARAMETERS for end in ("min", "max", "step")}
    names = ("name", "prompt", "model", *sorted(bounds), "max_tokens", "response_count")
    said = {name: getattr(row, name, None) for name in names}
    return {name: value for name, value in said.items() if value is not None}


def _calls(planned: int | None, responses: Sequence[ReportedResponse]) -> CallCounts:
    answered = [response for response in responses if response.status == "succeeded"]
    inputs, outputs = ([getattr(response, name) for response in answered] for name in ("input_tokens", "output_tokens"))
    return CallCounts(
        planned=planned,
        stored=len(responses),
        answered=len(answered),
        failed=len(responses) - len(answered),
        replayed=sum(response.replayed is True for response in answered),
        retried=sum((response.attempts or 1) > 1 for response in answered),
        input_tokens=None if None in inputs else sum(inputs),
        output_tokens=None if None in outputs else sum(outputs),
    )


def _costs(spec: Mapping[str, Any], responses: Sequence[ReportedResponse]) -> Costs:
    answered = [response for response in responses if response.status == "succeeded"]
    limit = spec.get("max_cost_usd")
    return Costs(
        paid_usd=total_cost(response.cost_usd for response in answered),
        saved_usd=sum((response.saved_usd or Decimal(0) for response in answered if response.replayed), Decimal(0)),
        max_cost_usd=None if limit is None else Decimal(str(limit)),
    )


def _failures(responses: Sequence[ReportedResponse]) -> tuple[FailureReason, ...]:
    """Reasons, the most frequent first."""
    reasons = Counter((r.error_class or "", r.error_message or "") for r in responses if r.status == "failed")
    return tuple(
        FailureReason(error_class=said, error_message=message or None, calls=count)
        for (said, message), count in sorted(reasons.items(), key=lambda reason: (-reason[1], reason[0]))
    )


def best_and_worst(responses: Sequence[ReportedResponse], metric: str) -> tuple[AnswerPair, ...]:
    """Answers to the same prompt, the best beside the worst; of a few prompts some such pairs each."""
    of_prompt: dict[str, list[ReportedResponse]] = {}
    for response in responses:
        if metric in response.scores and response.content is not None:
            of_prompt.setdefault(response.prompt, []).append(response)
    each = max(1, PAIRS_OF_A_PROMPT // max(1, len(of_prompt)))
    return tuple(pair for answers in of_prompt.values() for pair in _pairs(answers, metric, each))[:MOST_PAIRS]


def _pairs(answers: Sequence[ReportedResponse], metric: str, most: int) -> list[AnswerPair]:
    ranked = sorted(answers, key=lambda answer: (-answer.scores[metric], answer.number))
    found = [
        AnswerPair(prompt=better.prompt, best=better.number, worst=worse.number)
        for better, worse in islice(zip(ranked, reversed(ranked), strict=True), len(ranked) // 2)
        if better.scores[metric] > worse.scores[metric]
    ]
    return found[:most] or [AnswerPair(prompt=ranked[0].prompt, best=ranked[0].number, worst=None)]
