"""What came of judging the answers of a sweep, and of measuring what they mean."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel, ConfigDict


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)


class Agreement(_Told):
    """How often two ways to judge agree, over pairs of answers.

    Attributes:
        raw: share of `pairs`, with `low` and `high` of its interval of 95 % (Wilson); None without a pair.
        kappa: Cohen's: agreement beyond chance; None where chance alone agrees always.
    """

    pairs: int
    raw: float | None
    low: float | None
    high: float | None
    kappa: float | None


class JudgeReport(_Told):
    """How far the judge is, and how far it is to be trusted.

    Attributes:
        analysis_version: of its scores, the metric `judge`.
        judged: pairs of the `pairs` to be compared.
        swapped: with itself, when the answers change places.
        first_place: share, of verdicts that are no tie, for whichever answer stood first; 0.5 is fair.
        overall: with the metric `overall`, of pairs that both decide.
        cost_usd: of its calls in this run; None where a price is not known.
    """

    model: str
    analysis_version: str
    pairs: int
    judged: int
    unjudged: int
    swapped: Agreement
    first_place: float | None
    overall: Agreement
    calls: int
    cost_usd: Decimal | None


class MeaningReport(_Told):
    """How far the metrics by embeddings are.

    Attributes:
        measured: of the `answers`.
        means: by metric, 0 to 1.
        cost_usd: of the embeddings in this run; None where a price is not known.
    """

    model: str
    analysis_version: str
    answers: int
    measured: int
    means: dict[str, float]
    cost_usd: Decimal | None
