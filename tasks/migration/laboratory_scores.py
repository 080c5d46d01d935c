"""Scores of the prompt laboratory, wherever its generations kept them, as records of one shape and scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blocks.sources.records import RecordChunk, SourceTable

METRICS = (
    "overall", "coherence", "completeness", "readability", "length_appropriateness", "creativity", "specificity",
)  # fmt: skip
COLUMNS = {f"{metric}_score": metric for metric in METRICS}
PERCENT = 100
NO_DOUBT = 2.0
"""A score beyond is no slip of one that should be 1 at most."""
SCAN_ROWS = 10_000
_PLACE_BITS = 4
_MOST_INDEX = 2**56


@dataclass
class Scale:
    """What is known of the scores that one table keeps in one shape.

    Attributes:
        counted, above: how many are greater than 0 and than 1, of the metrics that are on one scale.
        names: metrics that occur.
    """

    counted: int = 0
    above: int = 0
    names: set[str] = field(default_factory=set)

    @property
    def on_hundred(self) -> bool:
        """Most are beyond 1, so that they are parts of 100."""
        return 2 * self.above > self.counted

    def note(self, scores: Mapping[str, Any]) -> None:
        """`scores` of a row are known."""
        self.names |= scores.keys()
        for score in _scaled_together(scores):
            self.counted += score > 0
            self.above += score > 1

    def divides(self, scores: Mapping[str, Any]) -> bool:
        """The scores of a row are parts of 100: where its largest leaves a doubt, as most of the others are."""
        largest = max(_scaled_together(scores), default=0.0)
        return largest > NO_DOUBT or self.on_hundred


@dataclass
class Scores:
    """The scores in one table of a source, of whichever generation: a metric to a row, or a column for each."""

    table: SourceTable
    is_response: bool
    long: Scale = field(default_factory=Scale)
    wide: Scale = field(default_factory=Scale)

    def scan(self) -> None:
        """It is known on which scale the scores are, and which there are."""
        for chunk in self.table.chunks(SCAN_ROWS):
            for record in chunk.records:
                scores, scale = self._found(record)
                scale.note(scores)

    def said(self) -> Iterator[str]:
        """What was done to scores that are parts of 100."""
        for scale in (self.long, self.wide):
            if scale.above:
                which = "all" if scale.on_hundred else "the rows that hold them"
                yield (
                    f"{self.table.name}: {scale.above} of {scale.counted} scores are above 1; "
                    f"{which} are read as parts of {PERCENT}"
                )

    def rows(self, record: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The scores in `record`, each as a record of its own."""
        scores, scale = self._found(record)
        divides = scale.divides(scores)
        names = scale.names if scale is self.long else scores.keys()
        for metric, value in scores.items():
            score = _number(value) if divides and metric in METRICS else None
            yield {
                **({} if self.is_response else _beside(record)),
                "response_id": record.get("id" if self.is_response else "response_id"),
                "metric": metric,
                "score": value if score is None else score / PERCENT,
                "analysis_version": record.get("analysis_version") or _version(names),
                "created_at": record.get("created_at") or record.get("calculated_at"),
            }

    def _found(self, record: dict[str, Any]) -> tuple[dict[str, Any], Scale]:
        """The scores of a row by metric, and the scale of its shape."""
        if record.get("metric_name") is not None:
            return {str(record["metric_name"]).removesuffix("_score"): record.get("score")}, self.long
        found = {metric: record[column] for column, metric in COLUMNS.items() if record.get(column) is not None}
        if not found and record.get("score") is not None:
            return {"": record["score"]}, self.long  # a score of nothing, to be rejected
        return found, self.wide


def _scaled_together(scores: Mapping[str, Any]) -> list[float]:
    """Those that are of metrics on one scale."""
    found = (_number(value) for metric, value in scores.items() if metric in METRICS)
    return [score for score in found if score is not None and not math.isnan(score)]


def _beside(record: dict[str, Any]) -> dict[str, Any]:
    """What a row has beside scores: counts of words, details."""
    taken = {"id", "metric_name", "score", "calculated_at", *COLUMNS}
    return {name: value for name, value in record.items() if name not in taken and value is not None}


def _version(names: Iterable[str]) -> str:
    known = set(names)
    if "overall" not in known:
        return "llm-lab-3"
    return "llm-lab-2" if known & {"creativity", "specificity"} else "llm-lab-1"


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


@dataclass
class ScoreTable:
    """All scores of a source as one table; a place holds that of the row, the metric's in it, and the table's."""

    parts: list[Scores]
    name: str = "quality_metrics"

    def chunks(self, size: int, start: int = 0) -> Iterator[RecordChunk]:
        """The scores of one table after the other, always from the beginning."""
        for number, scores in enumerate(self.parts):
            for chunk in scores.table.chunks(size):
                yield self._chunk(number, scores, chunk)

    def _chunk(self, number: int, scores: Scores, chunk: RecordChunk) -> RecordChunk:
        from blocks.sources.records import RecordChunk, Unreadable

        unreadable = [] if scores.is_response else list(chunk.unreadable)  # those are told with the responses
        indexes, records = [], []
        for index, record in zip(chunk.indexes, chunk.records, strict=True):
            if index >= _MOST_INDEX:
                unreadable.append(Unreadable(_MOST_INDEX, f"the row's number {index} is beyond all bounds", ""))
                continue
            for place, row in enumerate(scores.rows(record)):
                indexes.append(self._index(number, index, place))
                records.append(row)
        told = [
            Unreadable(self._index(number, min(each.index, _MOST_INDEX), 0), each.reason, each.raw)
            for each in unreadable
        ]
        return RecordChunk(self.name, indexes, records, told)

    def _index(self, number: int, index: int, place: int) -> int:
        return index << _PLACE_BITS | place << 1 | number

    def place(self, index: int) -> str:
        """Where the row stands that has the score."""
        return self.parts[index & 1].table.place(index >> _PLACE_BITS)
