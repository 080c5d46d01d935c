"""Two answers to one prompt, one of which is better: by a correction, by what people thought, by scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice

from schemas.training import ExportOptions
from tasks.training.examples import Example
from tasks.training.formats import Row, pair

DECIMALS = 9
"""Of differences between scores: 0.5 is 0.1 above 0.4, also in binary."""


def pairs_of(group: Sequence[Example], options: ExportOptions) -> Iterator[Row]:
    """The pairs among examples that have the same prompt.

    Two equal answers make none, nor do two of which the opposite was said before: corrections and what people thought
    come before scores.
    """
    said: set[tuple[str, ...]] = set()
    for row in _every_pair(group, options):
        if row.answers[::-1] not in said:
            said.add(row.answers)
            yield row


def _every_pair(group: Sequence[Example], options: ExportOptions) -> Iterator[Row]:
    if "corrections" in options.pairs:
        for example in group:
            if example.corrected and example.given.strip():
                yield pair(example, example.answer, example.given, (example.id,), options)
    if "feedback" in options.pairs:
        yield from _both(_by_opinion(group), options)
    if "scores" in options.pairs:
        yield from _both(_by_score(group, options.margin), options)


def _both(found: Iterator[tuple[Example, Example]], options: ExportOptions) -> Iterator[Row]:
    for better, worse in found:
        if better.given != worse.given and better.given.strip() and worse.given.strip():
            yield pair(better, better.given, worse.given, (better.id, worse.id), options)


def _by_opinion(group: Sequence[Example]) -> Iterator[tuple[Example, Example]]:
    """Each answer that is liked or disliked at least once, and none more often than that takes."""
    liked = [example for example in group if example.opinion == "positive"]
    disliked = [example for example in group if example.opinion == "negative"]
    if liked and disliked:
        yield from islice(zip(cycle(liked), cycle(disliked), strict=False), max(len(liked), len(disliked)))


def _by_score(group: Sequence[Example], margin: float) -> Iterator[tuple[Example, Example]]:
    """The answer that scores best with each that scores lower by the margin."""
    scored = sorted((-example.score, example.id, example) for example in group if example.score is not None)
    for low, _, worse in scored[1:]:
        if round(low - scored[0][0], DECIMALS) >= margin:
            yield scored[0][2], worse
