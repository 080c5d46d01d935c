"""What a report of a sweep says: read once from the ledger, then written in several formats.

Scores are 0 to 1 as they are stored; what is shown to people stands beside them, from 0 to 100.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias, get_args
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from schemas.sweep_results import ExperimentStatus
from schemas.sweep_statistics import Level, SweepAnalysis

ReportFormat = Literal["html", "pdf", "xlsx", "csv", "json"]
FORMATS: tuple[ReportFormat, ...] = get_args(ReportFormat)

Value: TypeAlias = str | bool | int | float | Decimal | datetime | None
"""What a cell of a table holds."""


class _Reported(BaseModel):
    model_config = ConfigDict(frozen=True)


class ReportedResponse(_Reported):
    """One response.

    Attributes:
        number: its place in the report, from 1.
        parameters: by name, those that were set.
        attempts: requests that the answer took; None where no request is on record.
        saved_usd: what a replayed answer would have cost.
        scores: of the report's metrics, 0 to 1; without those that it lacks.
    """

    number: int
    id: str
    prompt: str
    system_prompt: str | None
    model: str | None
    parameters: dict[str, int | float]
    repetition: int | None
    status: Literal["succeeded", "failed"]
    content: str | None
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    latency_ms: int | None
    cost_usd: Decimal | None
    saved_usd: Decimal | None
    replayed: bool | None
    attempts: int | None
    error_class: str | None
    error_message: str | None
    created_at: datetime
    scores: dict[str, float]


class FailureReason(_Reported):
    """Why calls failed, and how many."""

    error_class: str
    error_message: str | None
    calls: int


class CallCounts(_Reported):
    """What was asked.

    Attributes:
        planned: calls of the whole grid; an adaptive strategy makes fewer. None of older experiments.
        replayed: answers that the ledger had; nothing was paid for them.
        retried: answers that came after a failed attempt.
    """

    planned: int | None
    stored: int
    answered: int
    failed: int
    replayed: int
    retried: int
    input_tokens: int | None
    output_tokens: int | None


class Costs(_Reported):
    """US dollars: paid for the answers that are stored, saved by replaying, and the wall.

    Attributes:
        paid_usd: None where the price of an answer is not known.
    """

    paid_usd: Decimal | None
    saved_usd: Decimal
    max_cost_usd: Decimal | None


class HeatMap(_Reported):
    """Mean scores at each pair of values of two parameters, whatever else was set.

    Attributes:
        means: by value of `first`, then of `second`; None where there is no response.
        responses: that each is the mean of.
    """

    metric: str
    first: str
    second: str
    first_values: tuple[Level, ...]
    second_values: tuple[Level, ...]
    means: tuple[tuple[float | None, ...], ...]
    responses: tuple[tuple[int, ...], ...]


class CombinationMean(_Reported):
    """What a combination came to: mean of the headline metric, cost and latency of a response."""

    settings: dict[str, Level]
    responses: int
    score: float
    cost_usd: float | None
    latency_ms: float | None


class AnswerPair(_Reported):
    """The best and the worst answer to a prompt, by their `number`; `worst` is None where none is worse."""

    prompt: str
    best: int
    worst: int | None


class ReportContents(_Reported):
    """All that a report says; two readings of an unchanged experiment are equal.

    Attributes:
        as_of: when the experiment, its responses or scores changed last; the time stamp of the report.
        metric: that stands for all; None where nothing is scored.
        metrics: of the responses, by `analysis_version`, the one that stands for all first.
        combinations: the best first.
    """

    experiment_id: str
    name: str
    description: str | None
    status: ExperimentStatus
    error_message: str | None
    project: str | None
    run_id: UUID | None
    tags: tuple[str, ...]
    created_at: datetime
    completed_at: datetime | None
    as_of: datetime
    spec: dict[str, Any]
    analysis_version: str
    metric: str | None
    metrics: tuple[str, ...]
    calls: CallCounts
    costs: Costs
    failures: tuple[FailureReason, ...]
    analysis: SweepAnalysis
    heat_maps: tuple[HeatMap, ...]
    combinations: tuple[CombinationMean, ...]
    pairs: tuple[AnswerPair, ...]
    responses: tuple[ReportedResponse, ...]

    def response(self, number: int) -> ReportedResponse:
        """The response of this number."""
        return self.responses[number - 1]


class ReportFile(_Reported):
    """A file that was written."""

    format: ReportFormat
    path: str
    bytes: int


class SweepReportFiles(_Reported):
    """The report of an experiment, written."""

    run_id: UUID
    status: Literal["completed"] = "completed"
    experiment_id: str
    name: str
    responses: int
    files: tuple[ReportFile, ...]
    conclusions: tuple[str, ...]
