"""How good each of many is, from comparisons of two. No I/O.

Bradley and Terry (1952): `i` beats `j` with the probability `s_i / (s_i + s_j)`; a tie is half a win for both.
Strengths are fitted by Hunter's minorisation-maximisation (2004). Each has `PRIOR` comparisons more, all ties, with a
virtual opponent of strength 1: so that who won or lost all, or was compared with nobody, has a strength too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PRIOR = 1.0
MOST_ROUNDS = 100_000
NEAR = 1e-10


@dataclass(frozen=True)
class Game:
    """One comparison of the numbers `one` and `other`; `points` are those of `one`: 1, 0.5 or 0."""

    one: int
    other: int
    points: float


def bradley_terry(count: int, games: Sequence[Game]) -> list[float]:
    """The chance of each of `count` to be preferred to the virtual opponent, between 0 and 1; 0.5 is average."""
    import numpy

    one = numpy.array([game.one for game in games], dtype=int)
    other = numpy.array([game.other for game in games], dtype=int)
    points = numpy.array([game.points for game in games], dtype=float)
    won = numpy.bincount(one, points, count) + numpy.bincount(other, 1 - points, count) + PRIOR / 2
    strengths = numpy.ones(count)
    chances = strengths / (strengths + 1)
    for _ in range(MOST_ROUNDS):
        shares = 1 / (strengths[one] + strengths[other])
        played = numpy.bincount(one, shares, count) + numpy.bincount(other, shares, count)
        strengths = won / (played + PRIOR / (strengths + 1))
        before, chances = chances, strengths / (strengths + 1)
        if numpy.abs(chances - before).max(initial=0.0) < NEAR:
            break
    return [float(chance) for chance in chances]
