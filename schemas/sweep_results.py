"""What a sweep is going to be, how far it is, and what came of it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, computed_field

from schemas.sweep_passes import JudgeReport, MeaningReport

ExperimentStatus = Literal["pending", "running", "completed", "failed", "cancelled"]


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)


class ModelPlan(_Told):
    """What the calls to one model come to, before they are made.

    Attributes:
        probed: a first call told how long an answer is and takes; else answers are taken to be as long as they may.
        input_tokens, output_tokens: of all its calls; the input is a bound, the output what the probe says.
        cost_usd: expected; None when no price is known.
        most_usd: where every answer is as long as it may be.
        seconds: expected, with as many calls at once as the limits allow; None when nobody probed.
    """

    model: str
    calls: int
    probed: bool
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    most_usd: Decimal | None
    seconds: float | None


class SweepPlan(_Told):
    """What a sweep is going to be.

    Attributes:
        combinations, calls: that the strategy asks, at most.
        grid: combinations of the whole grid.
        answered: calls that the ledger has answers to, which cost nothing; None where they are too many to look up.
        judge, meaning: what judging the answers and measuring what they mean takes, where the spec wants it.
        cost_usd, most_usd: of all of that, less the answers that the ledger has; None when a price is not known.
        probe_usd: what the probes cost.
        minutes: for the answers; nobody knows how long a judge takes.
    """

    name: str
    strategy: str
    combinations: int
    calls: int
    grid: int
    answered: int | None
    models: tuple[ModelPlan, ...]
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    most_usd: Decimal | None
    max_cost_usd: Decimal | None
    probe_usd: Decimal | None
    minutes: float | None
    judge: ModelPlan | None = None
    meaning: ModelPlan | None = None


class FailedResponses(_Told):
    """Responses that have a reason instead of an answer.

    Attributes:
        reason: the error's code; `message` is that of one of them.
    """

    model: str | None
    reason: str
    message: str | None
    responses: int


class FailedAttempts(_Told):
    """Attempts at calls that failed; the call may have been answered by a later one.

    Attributes:
        reason: the error's class, as in `llm_requests`; `message` is that of one of them.
        responses: that they were made for.
        answered: of these responses, those that a later attempt brought an answer to.
    """

    model: str
    reason: str
    message: str | None
    attempts: int
    responses: int
    answered: int


class SweepStatus(_Told):
    """How far a sweep is, in the terms of the old batch API.

    Attributes:
        progress: percent of the calls; of an adaptive strategy of those it makes at most.
        current_parameters: of the answer that came last.
        best_score, mean_score: `overall`, 0 to 1.
        replayed: answers that the ledger had; nothing was paid for them, which saved `saved_usd`.
        retried: answers that an earlier attempt did not get.
        failed_responses: by model and reason; `failed_attempts` likewise, of the attempts at all responses.
        cost_usd: of the answers; what `judge` and `meaning` cost is with them, where the spec wants them.
    """

    experiment_id: str
    name: str
    status: ExperimentStatus
    progress: float
    total_combinations: int
    completed_combinations: int
    total_calls: int
    completed_calls: int
    failed_calls: int
    replayed: int
    current_parameters: dict[str, Any]
    estimated_completion: datetime | None
    best_score: float | None
    mean_score: float | None
    cost_usd: Decimal | None
    error_message: str | None
    saved_usd: Decimal | None = None
    retried: int = 0
    failed_responses: tuple[FailedResponses, ...] = ()
    failed_attempts: tuple[FailedAttempts, ...] = ()
    judge: JudgeReport | None = None
    meaning: MeaningReport | None = None


class Best(_Told):
    """A setting and the mean of its scores.

    Attributes:
        score: mean `overall`, 0 to 1.
        responses: that it is the mean of.
    """

    model: str | None
    system_prompt: str | None
    parameters: dict[str, float]
    score: float
    responses: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def points(self) -> float:
        """The score as it is shown, 0 to 100."""
        return round(100 * self.score, 1)


class SweepReport(_Told):
    """What came of a sweep.

    Attributes:
        asked: answers that the strategy wanted.
        saved: calls of the grid that it could do without.
        saved_usd: what the replayed answers had cost.
        retried: answers that an earlier attempt did not get.
        stored: answers on record now; `failed` have a reason instead.
        best: settings with the best mean, at most ten; that one is best says nothing of how sure that is.
        cost_usd: of the answers; what `judge` and `meaning` cost is with them, where the spec wants them.
        conclusions: what the statistics say of `overall`, in sentences; all of them are in `sweep_analyses`.
    """

    run_id: UUID
    status: Literal["completed"] = "completed"
    experiment_id: str
    name: str
    strategy: str
    combinations: int
    asked: int
    saved: int
    stored: int
    failed: int
    replayed: int
    mean_score: float | None
    best: tuple[Best, ...]
    failures: dict[str, int]
    cost_usd: Decimal | None
    seconds: float
    conclusions: tuple[str, ...] = ()
    saved_usd: Decimal | None = None
    retried: int = 0
    judge: JudgeReport | None = None
    meaning: MeaningReport | None = None


class ExperimentRecord(_Told):
    """An experiment as it is listed.

    Attributes:
        strategy: None of experiments of the older laboratory.
        responses: on record, `failed` ones among them.
        best_score, mean_score: `overall`, 0 to 1.
    """

    id: str
    name: str
    description: str | None
    status: ExperimentStatus
    strategy: str | None
    models: tuple[str, ...]
    responses: int
    failed: int
    best_score: float | None
    mean_score: float | None
    cost_usd: Decimal | None
    tags: tuple[str, ...]
    is_favourite: bool
    archived_at: datetime | None
    created_at: datetime
    completed_at: datetime | None
    run_id: UUID | None
