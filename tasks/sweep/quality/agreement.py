"""How far a judge's verdict depends on which answer it reads first, and how far a metric shares it. No I/O."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Verdict = Literal["first", "second", "tie"]
Z_95 = 1.959963984540054
SWAPPED: dict[Verdict, Verdict] = {"first": "second", "second": "first", "tie": "tie"}


@dataclass(frozen=True)
class Comparison:
    """Two answers, compared in both orders.

    Attributes:
        first, second: names of the answers.
        forward: the verdict where `first` stood first.
        backward: the verdict where `second` stood first, in the same terms: "first" means the answer `first`. None, as
            in `forward`, where the judge gave no verdict.
    """

    first: str
    second: str
    forward: Verdict | None
    backward: Verdict | None

    @property
    def is_judged(self) -> bool:
        """There is a verdict in both orders."""
        return self.forward is not None and self.backward is not None

    @property
    def verdict(self) -> Verdict:
        """What both orders say; a tie where they disagree."""
        return self.forward if self.forward is not None and self.forward == self.backward else "tie"


@dataclass(frozen=True)
class SwapAgreement:
    """Agreement of a judge with itself when the answers change places.

    Attributes:
        pairs: with a verdict in both orders.
        disagreed: of these, how many verdicts changed; they count as ties.
        unjudged: pairs without a verdict in one of the orders; they count for nothing.
        raw: share of `pairs` that agreed, with `low` and `high` of its interval of 95 % (Wilson 1927).
        kappa: Cohen's (1960): agreement beyond that of two judges who give these verdicts by chance; None where chance
            alone agrees always.
        first_place: share, of verdicts that are no tie, for whichever answer stood first; 0.5 is fair.
    """

    pairs: int
    disagreed: int
    unjudged: int
    raw: float | None
    low: float | None
    high: float | None
    kappa: float | None
    first_place: float | None


VerdictPair: TypeAlias = tuple[Verdict | None, Verdict | None]
"""A verdict and the one it is held against, as `Comparison.forward` and `backward`."""


def swap_agreement(comparisons: Sequence[Comparison]) -> SwapAgreement:
    """The agreement over all `comparisons`; what cannot be said of none is None."""
    return swap_agreement_of(Counter((each.forward, each.backward) for each in comparisons))


def swap_agreement_of(counts: Mapping[VerdictPair, int]) -> SwapAgreement:
    """As `swap_agreement`, of how often each pair of verdicts occurred."""
    judged = _both_known(counts)
    pairs = sum(judged.values())
    agreed = sum(count for (forward, backward), count in judged.items() if forward == backward)
    low, high = wilson(agreed, pairs)
    in_first_place = sum(
        count * ((forward == "first") + (backward == "second")) for (forward, backward), count in judged.items()
    )
    decided = sum(count * ((forward != "tie") + (backward != "tie")) for (forward, backward), count in judged.items())
    return SwapAgreement(
        pairs=pairs,
        disagreed=pairs - agreed,
        unjudged=sum(counts.values()) - pairs,
        raw=agreed / pairs if pairs else None,
        low=low,
        high=high,
        kappa=_kappa(judged),
        first_place=in_first_place / decided if decided else None,
    )


@dataclass(frozen=True)
class MetricAgreement:
    """Agreement of a judge with a metric on which of two answers is better.

    Attributes:
        pairs: that both decide: the judge prefers the same answer in either order, and the scores differ.
        agreed: of these, how many they decide alike.
        raw: share of `pairs` that agreed, with `low` and `high` of its interval of 95 % (Wilson 1927), as if pairs that
            share an answer were independent.
        kappa: Cohen's (1960); None where chance alone agrees always.
    """

    pairs: int
    agreed: int
    raw: float | None
    low: float | None
    high: float | None
    kappa: float | None


def metric_agreement_of(counts: Mapping[VerdictPair, int]) -> MetricAgreement:
    """The agreement over pairs, by how often the judge and the metric preferred which; ties are left out."""
    decided = {pair: count for pair, count in _both_known(counts).items() if "tie" not in pair}
    pairs = sum(decided.values())
    agreed = sum(count for (judge, metric), count in decided.items() if judge == metric)
    low, high = wilson(agreed, pairs)
    return MetricAgreement(pairs, agreed, agreed / pairs if pairs else None, low, high, _kappa(decided))


def _both_known(counts: Mapping[VerdictPair, int]) -> dict[tuple[Verdict, Verdict], int]:
    return {(one, other): count for (one, other), count in counts.items() if one and other and count}


def _kappa(counts: Mapping[tuple[Verdict, Verdict], int]) -> float | None:
    """Cohen's kappa: (observed − by chance) / (1 − by chance), chance from how often each rater gives each verdict."""
    rulings = sum(counts.values())
    if not rulings:
        return None
    ones, others = Counter[Verdict](), Counter[Verdict]()
    for (one, other), count in counts.items():
        ones[one] += count
        others[other] += count
    by_chance = sum(ones[verdict] * others[verdict] for verdict in SWAPPED) / rulings**2
    observed = sum(count for (one, other), count in counts.items() if one == other) / rulings
    return (observed - by_chance) / (1 - by_chance) if by_chance < 1 else None


def wilson(successes: int, trials: int) -> tuple[float | None, float | None]:
    """The interval of a share that covers it in 95 % of samples (Wilson 1927); None without a trial."""
    if not trials:
        return None, None
    share, z = successes / trials, Z_95
    middle = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
