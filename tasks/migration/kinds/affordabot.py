"""Affordabot, the bill analyser: its pipeline's runs and steps, what it spent, and the searches it kept.

Both generations of its tables are read: a column for each model and each result, and later one document for all
models, one for the result, and numbered steps. Runs and steps keep their ids.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, model_validator

from schemas.identifiers import derived_id
from tasks.migration.declaration import Kind, Reference, Table
from tasks.migration.fields import IN_UTC, Count, CountOrZero
from tasks.migration.sql_records import SqlMoment, SqlRecord, Tokens, open_json, read_moment

if TYPE_CHECKING:
    from blocks.sources.records import Source

PROJECT = "affordabot"
TABLES = ("pipeline_runs", "pipeline_steps", "cost_tracking", "web_search_cache")
STEPS = ("research", "generate", "review", "refine")
RUN_STATUSES = {"running": "crashed", "prefix_halted": "failed", "fixture_invalid": "failed"}
STEP_STATUSES = {"degraded": "completed", "skipped": "completed", "replayed": "completed"}
DOCUMENTS = (
    "models", "result", "analysis_json", "review_json", "output", "output_result", "input_context", "model_config",
)  # fmt: skip
NOBODY = UUID(int=0)
"""No worker of ours made the call."""
SEARCH_LIFE = timedelta(hours=24)

Key = Annotated[str, Field(min_length=1, max_length=2000)]
Usd = Annotated[Decimal, Field(ge=0, max_digits=20, decimal_places=10)]


class RunRecord(SqlRecord):
    id: UUID
    flow: Literal["analyze-bill"] = "analyze-bill"
    project: str = PROJECT
    subject: Key = Field(alias="bill_id")
    status: Literal["completed", "failed", "crashed"]
    parameters: dict[str, Any]
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    started_at: SqlMoment
    completed_at: SqlMoment | None = None

    @model_validator(mode="before")
    @classmethod
    def _as_run(cls, record: dict[str, Any]) -> dict[str, Any]:
        rest = dict(record)
        by_step = {step: rest.pop(f"{step}_model", None) for step in STEPS[:3]}
        models = rest.pop("models", None) or _present(**by_step)
        message = rest.pop("error_message", None) or rest.pop("error", None)
        converted = {
            "parameters": _present(models=models, jurisdiction=rest.pop("jurisdiction", None)),
            "result": _result(rest) or None,
            "error": {"code": PROJECT, "message": message} if message else None,
        }
        return _with_status(rest, RUN_STATUSES) | converted


class StepRecord(SqlRecord):
    id: UUID
    run_id: UUID
    name: Key
    version: str = "0"
    ordinal: Count
    key: str
    status: Literal["completed", "failed", "running"]
    model: str | None = None
    output: Any = None
    started_at: SqlMoment
    completed_at: SqlMoment

    @model_validator(mode="before")
    @classmethod
    def _as_step(cls, record: dict[str, Any]) -> dict[str, Any]:
        rest = dict(record)
        name = rest.pop("step", None) or rest.pop("step_name", None)
        number = rest.pop("step_number", None)
        moment = rest.pop("timestamp", None) or rest.pop("created_at", None)
        converted = {
            "name": name,
            "ordinal": number or (STEPS.index(name) + 1 if name in STEPS else len(STEPS) + 1),
            "key": f"{PROJECT}/{rest.get('id')}",
            "output": rest.pop("output", None) if "output" in rest else rest.pop("output_result", None),
            "started_at": moment,
            "completed_at": moment,
        }
        return _with_status({"status": "completed", **rest}, STEP_STATUSES) | converted


class CostRecord(SqlRecord):
    id: UUID
    worker_id: UUID = NOBODY
    answer_key: str
    attempt: int = 1
    project: str
    kind: Literal["chat"] = "chat"
    purpose: str | None = Field(None, alias="step")
    provider: str
    model: Key
    status: Literal["succeeded"] = "succeeded"
    input_tokens: Tokens | None = Field(None, alias="tokens_used")
    cost_usd: Usd | None = None
    cost_source: Literal["price_table", "unpriced"]
    created_at: SqlMoment = Field(alias="timestamp")
    completed_at: SqlMoment

    @model_validator(mode="before")
    @classmethod
    def _as_call(cls, record: dict[str, Any]) -> dict[str, Any]:
        provider, slash, _ = str(record.get("model")).partition("/")
        return {
            **record,
            "answer_key": f"{PROJECT}/{record.get('cost_tracking_id')}",
            "project": record.get("project") or PROJECT,
            "provider": provider if slash else PROJECT,
            "completed_at": record.get("timestamp"),
            "cost_source": "unpriced" if record.get("cost_usd") is None else "price_table",
        }


class SearchRecord(SqlRecord):
    id: Key
    cache_key: Key
    query: str
    results: list[Any]
    cached_at: SqlMoment
    hit_count: CountOrZero = 0
    provider: str = "zai"
    count: Count
    domains: list[Any]
    expires_at: SqlMoment

    @model_validator(mode="before")
    @classmethod
    def _as_entry(cls, record: dict[str, Any]) -> dict[str, Any]:
        results = record.get("results")
        if isinstance(results, dict) and isinstance(results.get("results"), list):
            results = results["results"]
        made = read_moment(record.get("cached_at"))
        expires = None if made is None or made.year >= 9999 else made + SEARCH_LIFE
        count = len(results) if isinstance(results, list) else 0
        return {**record, "results": results, "count": count, "domains": [], "expires_at": expires}


def _with_status(record: dict[str, Any], statuses: dict[str, str]) -> dict[str, Any]:
    """The record with our status; its own is kept as an attribute where it is another."""
    was = record.get("status")
    now = statuses.get(was, was) if isinstance(was, str) else was
    return {**record, "status": now} | ({} if now == was else {"older_status": was})


def _result(rest: dict[str, Any]) -> dict[str, Any]:
    """What came of a run, taken out of `rest`."""
    result = rest.pop("result", None)
    told = result if isinstance(result, dict) and "analysis" in result else _present(analysis=result)
    quality = rest.pop("quality_score", None)
    return {**told} | _present(
        analysis=rest.pop("analysis_json", None),
        review=rest.pop("review_json", None),
        passed=_truth(rest.pop("review_passed", None)),
        quality_score=None if quality is None else float(quality),
    )


def _truth(value: Any) -> bool | None:
    """Whether the review passed; dumps write t, f, true and false."""
    known = {None: None, "t": True, "true": True, "f": False, "false": False}
    told = value if value is None else str(value).casefold()
    if told not in known:
        raise ValueError("review_passed is neither true nor false")
    return known[told]


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _open_documents(record: dict[str, Any], source: str) -> None:
    open_json(record, DOCUMENTS)


def _identify_cost(record: dict[str, Any], source: str) -> None:
    """The id has its place in time among those of our calls; the older one is kept."""
    identity, moment = record.get("id"), read_moment(record.get("timestamp"))
    if identity is not None and moment is not None:
        record["cost_tracking_id"] = identity
        record["id"] = str(derived_id(moment, source, "cost_tracking", str(identity)))


def _identify_search(record: dict[str, Any], source: str) -> None:
    record["id"] = record.get("cache_key")
    open_json(record, ("results",))


def _open(path: str) -> Source:
    from blocks.sources.chosen import open_tables

    return open_tables(path, frozenset(TABLES))


KIND = Kind(
    name="affordabot",
    version="1",
    description="Bill analyser: pipeline_runs, pipeline_steps, cost_tracking, web_search_cache from a dump or a URL",
    open_source=_open,
    tables=(
        Table(
            "pipeline_runs",
            RunRecord,
            "runs",
            prepare=_open_documents,
            conversions=(
                "a run that was running is crashed; prefix_halted and fixture_invalid are failed",
                "a status that is another here is kept as older_status",
                IN_UTC,
            ),
        ),
        Table(
            "pipeline_steps",
            StepRecord,
            "steps",
            references=(Reference("run_id", "pipeline_runs"),),
            prepare=_open_documents,
            conversions=(
                "degraded, skipped and replayed steps are completed; their status is kept as older_status",
                "a step began when it ended, as no other time is known",
                IN_UTC,
            ),
        ),
        Table(
            "cost_tracking",
            CostRecord,
            "llm_requests",
            prepare=_identify_cost,
            conversions=(
                "a tracked cost is a call with an id of its own; the older id is kept as cost_tracking_id",
                "tokens_used, of input and output together, is kept as input_tokens",
                "what was spent counts against no budget here",
                IN_UTC,
            ),
        ),
        Table(
            "web_search_cache",
            SearchRecord,
            "web_search_cache",
            prepare=_identify_search,
            conversions=(
                "an entry expires 24 hours after cached_at and is never replayed, as its request is not known",
                "count is the number of results; no domains are known",
                IN_UTC,
            ),
        ),
    ),
)
