"""The Pareto front: what no other is better than in one respect without being worse in another."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np

from tasks.sweep.statistics.observations import Codes, Floats


def pareto_front(score: Floats, *prices: Floats) -> Codes:
    """Places of the front, the highest score first: high scores are good, low prices are; one price or two.

    Of equals all are on the front. Rows with a price that is NaN are on none. O(n log n): going down the scores, a row
    is on the front if no row before it is as cheap (Kung, Luccio and Preparata 1975, JACM 22).
    """
    known = np.flatnonzero(~np.isnan(np.column_stack(prices)).any(axis=1))
    first = prices[0][known]
    second = prices[1][known] if len(prices) > 1 else np.zeros(len(known))
    order = np.lexsort((second, first, -score[known]))
    front, stairs = [], _Stairs()
    for place in order:
        point = (float(first[place]), float(second[place]), float(score[known][place]))
        if stairs.admits(*point):
            front.append(known[place])
    return np.asarray(front, dtype=np.intp)


class _Stairs:
    """The cheapest so far: first prices ascending, second ones descending."""

    def __init__(self) -> None:
        self._first: list[float] = []
        self._second: list[float] = []
        self._scores: list[float] = []

    def admits(self, first: float, second: float, score: float) -> bool:
        """Whether no earlier point is as good in all respects and better in one; if so it is one of the stairs."""
        under = bisect_right(self._first, first) - 1
        if under >= 0 and self._second[under] <= second:
            return (self._first[under], self._second[under], self._scores[under]) == (first, second, score)
        start = end = bisect_left(self._first, first)
        while end < len(self._first) and self._second[end] >= second:
            end += 1
        for column, value in ((self._first, first), (self._second, second), (self._scores, score)):
            column[start:end] = [value]
        return True
