"""LLM Lab, the prompt laboratory: a SQLite file of any of its three generations.

Scores stood in three places: one row for each metric, one row with a column for each, or columns of the response.
Here each is a row of `quality_metrics`. The laboratory analysed in three ways, told apart by what they came to: the
first had an overall score and neither creativity nor specificity, the second had all, the third had no overall score.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tasks.migration.declaration import Kind, Reference, Table
from tasks.migration.fields import IN_UTC, Count, Id, Moment
from tasks.migration.laboratory_scores import COLUMNS, Scores, ScoreTable
from tasks.migration.sql_records import Number, SqlRecord, Tokens, open_json, own_id, rename

if TYPE_CHECKING:
    from blocks.sources.records import Source, SourceTable


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
    said = [sentence for part in parts for sentence in part.said()]
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
                "each score is a row, called RESPONSE/metric/analysis_version, from 0 to 1; the scores of a row with "
                "one above 2, or of a table with most above 1, are divided by 100",
                "analysis_version is llm-lab-1, -2 or -3 by the metrics that were computed together",
            ),
        ),
    ),
)
