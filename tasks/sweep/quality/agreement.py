"""How far a judge's verdict depends on which answer it reads first. No I/O."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

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


def swap_agreement(comparisons: Sequence[Comparison]) -> SwapAgreement:
    """The agreement over all `comparisons`; what cannot be said of none is None."""
    judged = [(each.forward, each.backward) for each in comparisons if each.forward and each.backward]
    agreed = sum(forward == backward for forward, backward in judged)
    low, high = wilson(agreed, len(judged))
    in_first_place = sum((forward == "first") + (backward == "second") for forward, backward in judged)
    decided = sum((forward != "tie") + (backward != "tie") for forward, backward in judged)
    return SwapAgreement(
        pairs=len(judged),
        disagreed=len(judged) - agreed,
        unjudged=len(comparisons) - len(judged),
        raw=agreed / len(judged) if judged else None,
        low=low,
        high=high,
        kappa=_kappa(judged),
        first_place=in_first_place / decided if decided else None,
    )


def _kappa(judged: Sequence[tuple[Verdict, Verdict]]) -> float | None:
    """Cohen's kappa: (observed − by chance) / (1 − by chance), chance from how often each order gives each verdict."""
    if not judged:
        return None
    forward, backward = (Counter(given) for given in zip(*judged, strict=True))
    by_chance = sum(forward[verdict] * backward[verdict] for verdict in SWAPPED) / len(judged) ** 2
    observed = sum(one == other for one, other in judged) / len(judged)
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
