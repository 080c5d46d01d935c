"""Experiments as they are kept: listed, shown, compared, deleted, exported. Scores are 0 to 1."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from schemas.sweep_results import Best, ExperimentRecord, ExperimentStatus
from schemas.sweep_statistics import Interval, Level, Unit

ExperimentOrder = Literal["created", "name", "score", "cost", "responses"]


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True)


class ExperimentQuestion(_Kept):
    """Which experiments are listed, and how; what is empty or None does not restrict.

    Attributes:
        name: text in the name, whatever its case.
        tags: all of them.
        since, until: first and last day of creation, in UTC.
        model: one that was asked.
        archived: those that were archived, instead of those that were not.
        order: by name from A on, by all else the latest, best, dearest or largest first.
        after: id of the experiment that the page before ended with.
    """

    name: str = ""
    tags: tuple[str, ...] = ()
    status: ExperimentStatus | None = None
    since: date | None = None
    until: date | None = None
    model: str = ""
    favourite: bool = False
    archived: bool = False
    order: ExperimentOrder = "created"
    limit: int = 20
    after: str = ""


class ExperimentPage(_Kept):
    """Experiments in the order asked for; `next_after` is what `after` takes for the next page, None on the last."""

    experiments: tuple[ExperimentRecord, ...]
    next_after: str | None


class MetricSummary(_Kept):
    """Scores of one metric over the responses of an experiment."""

    metric: str
    responses: int
    mean: float
    lowest: float
    highest: float


class ResponseRecord(_Kept):
    """A response as it is told of, without its text."""

    id: str
    model: str | None
    parameters: dict[str, Level]
    repetition: int | None
    score: float | None


class ExperimentDetail(_Kept):
    """All there is to say of an experiment on one page.

    Attributes:
        spec: as it was asked; of experiments of the older laboratory, their columns.
        analysis_version: of the scores; those of today, or else the version most of them have.
        latency_ms: mean of the answers.
        best: settings with the best mean of `overall`.
        best_response, worst_response: by `overall`.
        failures: responses that failed, by the class of the error.
        conclusions: what the last analysis said.
    """

    experiment: ExperimentRecord
    spec: dict[str, Any]
    error_message: str | None
    total_combinations: int | None
    total_calls: int | None
    replayed: int
    input_tokens: int | None
    output_tokens: int | None
    latency_ms: float | None
    analysis_version: str
    metrics: tuple[MetricSummary, ...]
    best: tuple[Best, ...]
    best_response: ResponseRecord | None
    worst_response: ResponseRecord | None
    failures: dict[str, int]
    conclusions: tuple[str, ...]


class Deletion(_Kept):
    """What goes when an experiment is deleted, and what stays.

    Attributes:
        rows: that go, by table.
        run_id: stays on record, and cannot be gone on with.
        calls, cost_usd: of the ledger, which stay: what was paid stays known.
    """

    experiment_id: str
    name: str
    rows: dict[str, int]
    run_id: UUID | None
    calls: int
    cost_usd: Decimal | None


class Side(_Kept):
    """One of two experiments that are compared.

    Attributes:
        cost_usd, latency_ms: means of the answers that have scores; None where not known.
    """

    experiment_id: str
    name: str
    responses: int
    failed: int
    cells: int
    total_cost_usd: Decimal | None
    cost_usd: float | None
    latency_ms: float | None


class MetricDifference(_Kept):
    """One metric of two experiments.

    Attributes:
        first, second: means over cells; paired, over the cells that both have.
        difference: second less first.
        paired: on cells that were asked alike in both.
        units: means of these were drawn anew for the interval; of the smaller side where not paired.
        interval: of the difference, by bootstrap; None with fewer than two units.
        p_value: of no difference, by Student's paired or Welch's test; `p_adjusted` by Holm over the metrics.
        significant: p_adjusted is at most 0.05.
        sentence: all this for a person.
    """

    metric: str
    first: float
    second: float
    difference: float
    paired: bool
    cells: int
    better: int | None
    worse: int | None
    unit: Unit
    units: int
    interval: Interval | None
    p_value: float | None
    p_adjusted: float | None
    significant: bool
    sentence: str


class ExperimentComparison(_Kept):
    """Two experiments, metric by metric, with what they cost and how long they took beside.

    Attributes:
        common_cells: that were asked alike in both.
        differs: what each experiment has only one of, and another one than the other; cells are alike but for that.
    """

    first: Side
    second: Side
    analysis_version: str
    common_cells: int
    differs: dict[str, tuple[Level, Level]]
    metrics: tuple[MetricDifference, ...]


class ComparedResponse(_Kept):
    """One of two responses that are compared."""

    id: str
    experiment_id: str
    experiment: str
    status: Literal["succeeded", "failed"]
    model: str | None
    prompt: str | None
    system_prompt: str | None
    parameters: dict[str, Level]
    repetition: int | None
    content: str | None
    error_message: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: Decimal | None
    latency_ms: int | None
    finish_reason: str | None
    created_at: datetime


class ScorePair(_Kept):
    """One metric of two responses; None where a response has no such score. `difference` is second less first."""

    metric: str
    first: float | None
    second: float | None
    difference: float | None


class ResponseComparison(_Kept):
    """Two responses, metric by metric; of single responses no interval can be told."""

    first: ComparedResponse
    second: ComparedResponse
    analysis_version: str
    metrics: tuple[ScorePair, ...]


class ResponseExport(_Kept):
    """A file of responses that was written.

    Attributes:
        passes: versions of the scores by embeddings and by judges that stand beside those of `analysis_version`.
        shortened: texts longer than a cell of a workbook may be, which end in "…".
    """

    path: str
    rows: int
    experiments: int
    columns: tuple[str, ...]
    analysis_version: str
    passes: tuple[str, ...] = ()
    shortened: int = 0
