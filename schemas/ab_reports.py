"""What a test between variants has shown: rates with intervals, comparisons, cost and latency."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict

from schemas.versions import AbTestRecord

Verdict = Literal["better", "worse", "open"]


class Estimate(BaseModel):
    """A value with the interval that covers the true one 95 times in 100, read once; None without observations."""

    model_config = ConfigDict(frozen=True)

    value: float | None
    lower: float | None
    upper: float | None


class VariantReport(BaseModel):
    """What became of the users of one variant.

    Attributes:
        users: those with a call in the test; `rated` of them have rated an answer of it.
        first_positive: of the first ratings of these, how many are positive; `rate` is their share.
        ratings, positive: of all answers; `rate_of_all` is their share.
        calls: made, replays not among them; `failed` counts those that failed or whose end nobody knows.
        cost_usd: of the calls whose cost is known, which are `priced`.
        cost_per_call, latency: means, in USD and ms, with intervals over the users; quantiles in ms.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    model: str | None
    version: int | None
    weight: int
    users: int = 0
    rated: int = 0
    first_positive: int = 0
    rate: Estimate
    ratings: int = 0
    positive: int = 0
    rate_of_all: Estimate
    calls: int = 0
    failed: int = 0
    priced: int = 0
    cost_usd: Decimal | None = None
    cost_per_call: Estimate
    latency: Estimate
    latency_p50: float | None = None
    latency_p95: float | None = None


class Reading(BaseModel):
    """The difference of two rates at the end of a day, with its interval at all times; None while too few rated."""

    model_config = ConfigDict(frozen=True)

    day: date
    rated: int
    difference: float | None
    lower: float | None
    upper: float | None
    decided: bool


class Comparison(BaseModel):
    """A variant beside the control.

    Attributes:
        difference: of the rates; it and `p` may be read at any time.
        verdict: stands from `decided_on` on, whether or not anybody looked that day.
        needed: users with a rating, of both variants, until a difference of the effect worth knowing is found with
            power 0.8; `still_needed` of them are missing. With the pace of the test so far that is `days_needed` more.
        by_day: the readings.
    """

    model_config = ConfigDict(frozen=True)

    control: str
    variant: str
    error_rate: float
    difference: float | None
    lower: float | None
    upper: float | None
    p: float | None
    verdict: Verdict
    decided_on: date | None
    needed: int
    still_needed: int
    days_needed: int | None
    by_day: tuple[Reading, ...]


class TestReport(BaseModel):
    """A test as it stands.

    Attributes:
        division_p: how well the users go with the weights, at any reading; None without users.
        warnings: why not to believe it as it is.
    """

    __test__ = False  # pytest takes every class of this name for one of its own
    model_config = ConfigDict(frozen=True)

    test: AbTestRecord
    read_at: datetime
    variants: tuple[VariantReport, ...]
    comparisons: tuple[Comparison, ...]
    division_p: float | None
    warnings: tuple[str, ...]
