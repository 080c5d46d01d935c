"""LexyBrain, the keyword-insight service: what was asked, what was answered, and what people thought of it.

A request with its response is one call here. Ids are made anew, so that calls stand in their time; the older ones are
kept as attributes, and the views `lexybrain_*` show them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import Field, model_validator

from schemas.identifiers import derived_id
from tasks.migration.declaration import Kind, Reference, Table
from tasks.migration.fields import IN_UTC, Count, valid_uuid
from tasks.migration.sql_records import SqlMoment, SqlRecord, Tokens, open_json, read_moment, without_blanks

if TYPE_CHECKING:
    from blocks.sources.records import Source

PROJECT = "lexybrain"
TABLES = ("requests", "responses", "feedback")
NOBODY = UUID(int=0)
"""No worker of ours made the call."""
NO_MODEL = "unknown"
NO_RATING = "neutral"
ESTIMATE = "characters / 4"
_TERM = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,]+)')
_ESCAPED = re.compile(r"\\(.)")

UserId = Annotated[str, Field(min_length=1, max_length=255)]


class RequestRecord(SqlRecord):
    id: UUID
    worker_id: UUID = NOBODY
    answer_key: str
    attempt: int = 1
    project: str = PROJECT
    user_id: UserId | None = None
    kind: Literal["chat"] = "chat"
    provider: str = "runpod"
    model: str
    model_version: str | None
    request: dict[str, Any]
    response: dict[str, Any] | None
    status: Literal["succeeded", "failed", "unknown"]
    input_tokens: Tokens | None
    output_tokens: Tokens | None
    cost_source: Literal["unpriced"] = "unpriced"
    latency_ms: Count | None
    context: dict[str, Any]
    insight_type: str | None = None
    created_at: SqlMoment = Field(alias="requested_at")
    completed_at: SqlMoment | None

    @model_validator(mode="before")
    @classmethod
    def _as_call(cls, record: dict[str, Any]) -> dict[str, Any]:
        rest = dict(record)
        answered = rest.pop("response", None)
        context = rest.pop("context_json", None)
        context = {} if context is None else context
        for name in ("market", "niche_terms"):  # said twice, and kept once
            if isinstance(context, dict) and context.get(name) == rest.get(name):
                rest.pop(name, None)
        prompt = rest.pop("prompt", None)
        if not isinstance(prompt, str):
            raise ValueError("prompt is no text")
        request_id = valid_uuid("id", record.get("lexybrain_request_id"))
        return rest | _answer(answered) | {
            "answer_key": f"{PROJECT}/{request_id}",
            "request": {"messages": [{"role": "user", "content": prompt}]},
            "context": context,
        }  # fmt: skip


class ResponseRecord(RequestRecord):
    """A response that stands with no request: there is nothing that it answers."""

    @model_validator(mode="before")
    @classmethod
    def _as_call(cls, record: dict[str, Any]) -> dict[str, Any]:
        raise ValueError(
            "its request has another response" if record.get("request") else "request_id is in no requests"
        )


class FeedbackRecord(SqlRecord):
    id: UUID
    response_id: UUID
    user_id: UserId | None = None
    rating: Literal["positive", "negative", "neutral"] = Field(alias="feedback")
    notes: str | None = None
    created_at: SqlMoment
    updated_at: SqlMoment

    @model_validator(mode="before")
    @classmethod
    def _as_rating(cls, record: dict[str, Any]) -> dict[str, Any]:
        if later := record.get("replaced_by"):
            raise ValueError(f"the same person's later feedback {later} replaces it")
        if record.get("not_loaded"):
            raise ValueError("response_id is in no responses that were loaded")
        valid_uuid("id", record.get("lexybrain_feedback_id"))
        rating = record.get("feedback")
        rating = NO_RATING if rating is None else rating
        return {
            **record,
            "feedback": rating.strip().casefold() if isinstance(rating, str) else rating,
            "updated_at": record.get("created_at"),
        }


def _answer(answered: Any) -> dict[str, Any]:
    """Columns and attributes that come of a response, or of its absence."""
    if not isinstance(answered, dict):
        nothing = ("model_version", "response", "input_tokens", "output_tokens", "latency_ms", "completed_at")
        return {"status": "unknown", "model": NO_MODEL, **dict.fromkeys(nothing)}
    rest = {name: value for name, value in answered.items() if name != "request_id"}
    model, output, tokens = rest.pop("model_name", None), rest.pop("output_json", None), ("tokens_in", "tokens_out")
    counted = [rest.pop(name, None) for name in tokens]
    columns = {
        "lexybrain_response_id": str(valid_uuid("response.id", rest.pop("id", None))),
        "model": model or NO_MODEL,
        "model_version": model,
        "response": {"content": orjson.dumps({} if output is None else output).decode()},
        "status": "failed" if str(rest.pop("success", True)).casefold() in ("false", "f") else "succeeded",
        "input_tokens": counted[0],
        "output_tokens": counted[1],
        "latency_ms": rest.pop("latency_ms", None),
        "completed_at": rest.pop("generated_at", None),
    }
    estimated = {"tokens_estimated": ESTIMATE} if any(count is not None for count in counted) else {}
    return columns | estimated | ({"response_rest": rest} if rest else {})


def _prepare_request(record: dict[str, Any], source: str) -> None:
    _open(record, "context_json")
    if isinstance(terms := record.get("niche_terms"), str):
        record["niche_terms"] = _terms(terms)
    if isinstance(response := record.get("response"), dict):
        _open(response, "output_json")
    record["lexybrain_request_id"] = record.get("id")
    if identity := _call_id(record, source):
        record["id"] = identity


def _prepare_response(record: dict[str, Any], source: str) -> None:
    _open(record, "output_json")


def _prepare_feedback(record: dict[str, Any], source: str) -> None:
    """Its id is that of its person's opinion of the response, which a later one replaces."""
    without_blanks(record)
    response, request, first, last = (record.pop(name, None) or {} for name in ("response", "request", "first", "last"))
    identity, response_id = record.get("id"), record.get("response_id")
    record["lexybrain_feedback_id"] = identity
    call = _call_id(request, source)
    if call is None or first.get("id") != response.get("id"):
        record["not_loaded"] = True
        return
    moment = read_moment(request.get("requested_at"))
    assert moment is not None
    record["response_id"] = call
    names = (source, "lexybrain_feedback", str(response_id), str(record.get("user_id") or ""))
    record["id"] = str(derived_id(moment, *names))
    if last.get("id") != identity:
        record["replaced_by"] = last.get("id")


def _call_id(request: dict[str, Any], source: str) -> str | None:
    """The id that the call of a request has here; None where the request tells no id or time."""
    identity, moment = request.get("id"), read_moment(request.get("requested_at"))
    if identity is None or moment is None:
        return None
    return str(derived_id(moment, source, "lexybrain_requests", str(identity)))


def _open(record: dict[str, Any], *documents: str) -> None:
    without_blanks(record)
    open_json(record, documents)


def _terms(told: str) -> list[str]:
    """The items of a one-dimensional array as Postgres writes it: `{seo,"long tail"}`."""
    inner = told.strip().removeprefix("{").removesuffix("}")
    return [_ESCAPED.sub(r"\1", quoted) if quoted or not plain else plain for quoted, plain in _TERM.findall(inner)]


def _called(name: str) -> str | None:
    plain = name.casefold().replace("_", "").replace("-", "").removeprefix(PROJECT)
    return plain if plain in TABLES else None


def _stands_alone(response: dict[str, Any]) -> bool:
    """Whether the response is not the one that its request is loaded with."""
    return not response["request"] or response["first"]["id"] != response.get("id")


def _open_source(path: str) -> Source:
    from blocks.sources.chosen import open_tables
    from blocks.sources.joining import Join, JoinedSource

    request = Join("request", "requests", by=("request_id",), match=("id",), keep=("id", "requested_at"))
    first = Join("first", "responses", by=("request_id",), match=("request_id",), keep=("id",))
    both = ("response_id", "user_id")
    joins = {
        "requests": (Join("response", "responses", by=("id",), match=("request_id",)),),
        "responses": (request, first),
        "feedback": (
            Join("response", "responses", by=("response_id",), match=("id",), keep=("id", "request_id")),
            Join("request", "requests", by=("response.request_id",), match=("id",), keep=request.keep),
            Join("first", "responses", by=("response.request_id",), match=("request_id",), keep=("id",)),
            Join("last", "feedback", by=both, match=both, keep=("id",), last_by="created_at"),
        ),
    }
    names = frozenset(f"{PROJECT}_{name}" for name in TABLES)
    alone, needs = {"responses": _stands_alone}, {"requests": "responses"}  # else nobody was ever answered
    return JoinedSource(open_tables(path, names), _called, joins, alone, needs)


KIND = Kind(
    name="lexybrain",
    version="1",
    description="Keyword insights: lexybrain_requests, _responses and _feedback as CSV, JSON, a dump or a Postgres URL",
    open_source=_open_source,
    tables=(
        Table(
            "requests",
            RequestRecord,
            "llm_requests",
            aliases=("lexybrain_requests",),
            prepare=_prepare_request,
            conversions=(
                "a request with its response is one call, with an id of its own; the older ids are kept as attributes",
                "a request without a response is a call of unknown outcome",
                "tokens are the source's estimate, characters / 4; no cost is known",
                "the answer is the validated object, not the words of the model; no exact bytes are kept",
                "the source never wrote a failed call as a response",
                IN_UTC,
            ),
        ),
        Table(
            "responses",
            ResponseRecord,
            "llm_requests",
            aliases=("lexybrain_responses",),
            only_rejects=True,
            prepare=_prepare_response,
            conversions=("counted here is only a response that stands with no request",),
        ),
        Table(
            "feedback",
            FeedbackRecord,
            "feedback",
            aliases=("lexybrain_feedback",),
            references=(Reference("response_id", "requests"),),
            prepare=_prepare_feedback,
            conversions=(
                "feedback is kept as rating; where there is none but notes, it is neutral",
                "of one person's feedback on one response the latest is kept",
                IN_UTC,
            ),
        ),
    ),
)
