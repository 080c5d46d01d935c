"""What judging and measuring came to so far, as on record."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from schemas.sweep import SweepSpec
from schemas.sweep_passes import Agreement, JudgeReport, MeaningReport
from tasks.sweep.quality.agreement import MetricAgreement, SwapAgreement, metric_agreement_of, swap_agreement_of
from tasks.sweep.quality.judging import PURPOSE as JUDGING
from tasks.sweep.quality.judging import count_pairs, judge_version
from tasks.sweep.quality.meaning import PURPOSE as MEASURING
from tasks.sweep.quality.meaning import meaning_version
from tasks.sweep.quality.scoring import OVERALL, VERSION

_ANSWERS = text("""
    SELECT count(*) FROM responses JOIN experiments ON experiments.id = experiment_id
    WHERE experiment_id = :experiment AND responses.status = 'succeeded'
    GROUP BY md5(coalesce(responses.prompt, experiments.prompt))
""")
_SWAPPED = text("""
    SELECT forward, backward, count(*) AS pairs FROM judge_verdicts
    WHERE experiment_id = :experiment AND analysis_version = :version GROUP BY forward, backward
""")
_WITH_OVERALL = text("""
    SELECT forward, CASE WHEN first.score > second.score THEN 'first' WHEN first.score < second.score THEN 'second'
                         ELSE 'tie' END AS overall, count(*) AS pairs
    FROM judge_verdicts
    JOIN quality_metrics AS first ON first.response_id = first_id
        AND first.metric = :overall AND first.analysis_version = :scored
    JOIN quality_metrics AS second ON second.response_id = second_id
        AND second.metric = :overall AND second.analysis_version = :scored
    WHERE experiment_id = :experiment AND judge_verdicts.analysis_version = :version AND forward = backward
    GROUP BY 1, 2
""")
_MEANS = text("""
    SELECT metric, avg(score) AS mean, count(*) AS answers
    FROM responses JOIN quality_metrics ON response_id = responses.id
    WHERE experiment_id = :experiment AND analysis_version = :version GROUP BY metric ORDER BY metric
""")
_CALLS = text("""
    SELECT count(*) FILTER (WHERE status <> 'replayed') AS calls,
           CASE WHEN bool_or(status = 'succeeded' AND cost_usd IS NULL) THEN NULL
                ELSE coalesce(sum(cost_usd), 0) END AS cost_usd
    FROM llm_requests WHERE run_id = :run AND purpose = :purpose
""")


def read_passes(
    connection: Connection, experiment_id: str, run_id: UUID | None, spec: Mapping[str, Any] | None
) -> dict[str, JudgeReport | MeaningReport | None]:
    """`judge` and `meaning` of a `SweepStatus` or `SweepReport`; None where the spec wants none."""
    if not spec or not (spec.get("judge") or spec.get("meaning")):
        return {}
    wanted = SweepSpec.model_validate(spec)
    groups = list(connection.execute(_ANSWERS, {"experiment": experiment_id}).scalars())
    return {
        "judge": _read_judge(connection, experiment_id, run_id, wanted, groups),
        "meaning": _read_meaning(connection, experiment_id, run_id, wanted, sum(groups)),
    }


def _read_judge(
    connection: Connection, experiment_id: str, run_id: UUID | None, spec: SweepSpec, groups: list[int]
) -> JudgeReport | None:
    if spec.judge is None or spec.judge.model is None:
        return None
    version = judge_version(spec.judge.model)
    values = {"experiment": experiment_id, "version": version, "overall": OVERALL, "scored": VERSION}
    swapped = swap_agreement_of({(row[0], row[1]): row[2] for row in connection.execute(_SWAPPED, values)})
    overall = metric_agreement_of({(row[0], row[1]): row[2] for row in connection.execute(_WITH_OVERALL, values)})
    calls, cost_usd = _calls(connection, run_id, JUDGING)
    return JudgeReport(
        model=spec.judge.model,
        analysis_version=version,
        pairs=sum(count_pairs(answers, spec.judge.opponents) for answers in groups),
        judged=swapped.pairs + swapped.unjudged,
        unjudged=swapped.unjudged,
        swapped=_agreement(swapped),
        first_place=swapped.first_place,
        overall=_agreement(overall),
        calls=calls,
        cost_usd=cost_usd,
    )


def _read_meaning(
    connection: Connection, experiment_id: str, run_id: UUID | None, spec: SweepSpec, answers: int
) -> MeaningReport | None:
    if spec.meaning is None or spec.meaning.model is None:
        return None
    version = meaning_version(spec.meaning.model)
    rows = connection.execute(_MEANS, {"experiment": experiment_id, "version": version}).all()
    return MeaningReport(
        model=spec.meaning.model,
        analysis_version=version,
        answers=answers,
        measured=min((row.answers for row in rows), default=0),
        means={row.metric: row.mean for row in rows},
        cost_usd=_calls(connection, run_id, MEASURING)[1],
    )


def _calls(connection: Connection, run_id: UUID | None, purpose: str) -> tuple[int, Decimal | None]:
    row = connection.execute(_CALLS, {"run": run_id, "purpose": purpose}).one()
    return row.calls, row.cost_usd


def _agreement(found: SwapAgreement | MetricAgreement) -> Agreement:
    return Agreement(pairs=found.pairs, raw=found.raw, low=found.low, high=found.high, kappa=found.kappa)
