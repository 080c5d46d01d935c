"""LLM Lab, the prompt laboratory: a SQLite file of any of its three generations.

Scores stood in three places: one row for each metric, one row with a column for each, or columns of the response.
Here each is a row of `quality_metrics`. The laboratory analysed in three ways, told apart by what they came to: the
first had an overall score and neither creativity nor specificity, the second had all, the third had no overall score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tasks.migration.declaration import Kind, Reference, Table
from tasks.migration.fields import IN_UTC, Count, Id, Moment
from tasks.migration.sql_records import Number, SqlRecord, Tokens, open_json, own_id, rename

if TYPE_CHECKING:
    from blocks.sources.records import RecordChunk, Source, SourceTable

METRICS = (
    "overall", "coherence", "completeness", "readability", "length_appropriateness", "creativity", "specificity",
)  # fmt: skip
COLUMNS = {f"{metric}_score": metric for metric in METRICS}
PERCENT = 100
SCAN_ROWS = 10_000
_PLACE_BITS = 4
_MOST_INDEX = 2**56


class ExperimentRecord(SqlRecord):
    id: Id
    name: str
    description: str | None = None
    prompt: str
    status: Literal["pending", "running", "completed", "failed", "cancelled"]
    model: str | None = None
    temperature_min: Number | None = None
    temperature_max: Number | None = None
    temperature_step: Number | None = None
    top_p_min: Number | None = None
    top_p_max: Number | None = None
    top_p_step: Number | None = None
    frequency_penalty_min: Number | None = None
    frequency_penalty_max: Number | None = None
    presence_penalty_min: Number | None = None
    presence_penalty_max: Number | None = None
    max_tokens: Count | None = None
    response_count: Count | None = None
    error_message: str | None = None
    created_at: Moment
    updated_at: Moment | None = None
    completed_at: Moment | None = None


class ResponseRecord(SqlRecord):
    id: Id
    experiment_id: Id
    prompt: str | None = None
    content: str
    model: str | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    frequency_penalty: Number | None = None
    presence_penalty: Number | None = None
    max_tokens: Count | None = None
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    total_tokens: Tokens | None = None
    latency_ms: Count | None = None
    created_at: Moment


class MetricRecord(SqlRecord):
    id: Id
    response_id: Id
    metric: Annotated[str, Field(min_length=1)]
    score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    analysis_version: str
    created_at: Moment | None = None


def _experiment(record: dict[str, Any], source_name: str) -> None:
    own_id(record, "id", source_name)
    if record.get("status") in ("draft", None):
        record["status"] = "pending"


def _response(record: dict[str, Any], source_name: str) -> None:
    own_id(record, "id", source_name)
    own_id(record, "experiment_id", source_name)
    rename(record, {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"})
    rename(record, {"token_count": "total_tokens", "response_time": "latency_ms"})
    took = record.get("latency_ms")
    if isinstance(took, float):
        record["latency_ms"] = round(took)
        if not took.is_integer():
            record["mock"] = True
    for column in COLUMNS:
        record.pop(column, None)


def _metric(record: dict[str, Any], source_name: str) -> None:
    own_id(record, "response_id", source_name)
    open_json(record, ["details"])
    if "response_id" in record:
        record["id"] = "/".join(str(record.get(name)) for name in ("response_id", "metric", "analysis_version"))


@dataclass
class Scores:
    """The scores in one table of a source, of whichever generation.

    Attributes:
        counted, above: how many are greater than 0 and than 1, of the metrics that are on one scale.
        names: metrics that occur.
    """

    table: SourceTable
    is_response: bool
    counted: int = 0
    above: int = 0
    names: set[str] = field(default_factory=set)

    @property
    def on_hundred(self) -> bool:
        """Most are beyond 1, so that they are parts of 100."""
        return 2 * self.above > self.counted

    def scan(self) -> None:
        """It is known on which scale the scores are, and which there are."""
        for chunk in self.table.chunks(SCAN_ROWS):
            for record in chunk.records:
                for metric, value, _ in self._found(record):
                    self.names.add(metric)
                    score = _number(value) if metric in METRICS else None
                    self.counted += score is not None and score > 0
                    self.above += score is not None and score > 1

    def rows(self, record: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The scores in `record`, each as a record of its own."""
        for metric, value, names in self._found(record):
            score = _number(value)
            if score is not None and self.on_hundred and metric in METRICS:
                value = score / PERCENT
            yield {
                **({} if self.is_response else _beside(record)),
                "response_id": record.get("id" if self.is_response else "response_id"),
                "metric": metric,
                "score": value,
                "analysis_version": record.get("analysis_version") or _version(names),
                "created_at": record.get("created_at") or record.get("calculated_at"),
            }

    def _found(self, record: dict[str, Any]) -> Iterator[tuple[str, Any, set[str]]]:
        """Metric, value, and the metrics that were computed together with it."""
        if "metric_name" in record:
            yield str(record["metric_name"] or "").removesuffix("_score"), record.get("score"), self.names
            return
        found = {metric: record[column] for column, metric in COLUMNS.items() if record.get(column) is not None}
        for metric, value in found.items():
            yield metric, value, set(found)


def _beside(record: dict[str, Any]) -> dict[str, Any]:
    """What a row has beside scores: counts of words, details."""
    taken = {"id", "metric_name", "score", "calculated_at", *COLUMNS}
    return {name: value for name, value in record.items() if name not in taken and value is not None}


def _version(names: set[str]) -> str:
    if "overall" not in names:
        return "llm-lab-3"
    return "llm-lab-2" if names & {"creativity", "specificity"} else "llm-lab-1"


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


def _open(path: str) -> Source:
    from blocks.sources.opening import open_source
    from tasks.migration.adapting import AdaptedSource

    source = open_source(path)
    try:
        tables: Mapping[str, SourceTable] = source.tables()
        parts = [
            Scores(tables[name], name == "responses") for name in ("quality_metrics", "responses") if name in tables
        ]
        for part in parts:
            part.scan()
    except BaseException:
        source.close()
        raise
    said = [
        f"{part.table.name}: scores are on a scale of 0 to 100 ({part.above} of {part.counted} are above 1) and were "
        f"divided by {PERCENT}"
        for part in parts
        if part.on_hundred
    ]
    shown: dict[str, Any] = dict(tables)
    if parts:
        shown["quality_metrics"] = ScoreTable(parts)
    return AdaptedSource(source, shown, said)


OWN_IDS = "ids are SOURCE/number"

KIND = Kind(
    name="llm-lab",
    version="1",
    description="Prompt laboratory: its SQLite file, of any generation",
    open_source=_open,
    tables=(
        Table(
            "experiments",
            ExperimentRecord,
            "experiments",
            prepare=_experiment,
            conversions=(IN_UTC, OWN_IDS, "draft is kept as pending"),
        ),
        Table(
            "responses",
            ResponseRecord,
            "responses",
            references=(Reference("experiment_id", "experiments"),),
            prepare=_response,
            conversions=(
                IN_UTC,
                OWN_IDS,
                "prompt_tokens, completion_tokens, token_count and response_time are kept as input_tokens, "
                "output_tokens, total_tokens and latency_ms",
                "a response_time that is no whole number marks a reply that the laboratory made up: mock in attributes",
            ),
        ),
        Table(
            "quality_metrics",
            MetricRecord,
            "quality_metrics",
            references=(Reference("response_id", "responses"),),
            prepare=_metric,
            conversions=(
                IN_UTC,
                "each score is a row, called RESPONSE/metric/analysis_version, from 0 to 1; those of a table that has "
                "most of them above 1 are divided by 100",
                "analysis_version is llm-lab-1, -2 or -3 by the metrics that were computed together",
            ),
        ),
    ),
)
