"""llm_services, the shared gateway: its table `llm_requests`, as planned and as it became.

What it spent is history: it shows in `headrace costs` on its days, under the source's name as project, and has no
`budget_scopes`, so that no budget counts it. A reply from its cache cost nothing, whatever its row says.
"""

from __future__ import annotations

from datetime import UTC, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from schemas.identifiers import derived_id
from tasks.ledger.budgets import CENT_FRACTION, MOST_USD
from tasks.migration.declaration import Kind, Table
from tasks.migration.fields import IN_UTC, Count, Moment
from tasks.migration.sql_records import SqlRecord, Tokens, open_json, read_moment, rename, without_blanks

if TYPE_CHECKING:
    from blocks.sources.records import Source

TABLE = "llm_requests"
STATUSES = {"pending": "unknown", "completed": "succeeded", "failed": "failed"}
NOBODY = UUID(int=0)
"""The worker of calls that no worker of ours made."""
JSON = (
    "messages", "additional_params", "request_payload", "response_raw", "response_output", "context_data",
)  # fmt: skip
NAMES = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "max_tokens": "max_output_tokens",
    "execution_time_ms": "latency_ms",
    "error_type": "error_class",
    "provider_response_id": "provider_request_id",
    "retry_attempt": "attempt",
    "context_data": "context",
}
PARAMETERS = ("temperature", "max_output_tokens")
Usd = Annotated[Decimal, Field(ge=0, lt=MOST_USD, allow_inf_nan=False)]


class RequestRecord(SqlRecord):
    created_at: Moment
    id: UUID
    worker_id: UUID
    answer_key: str
    attempt: Annotated[int, Field(ge=0, le=2**15 - 1)]
    project: str
    user_id: Annotated[str, Field(coerce_numbers_to_str=True)] | None = None
    kind: Literal["chat", "image"]
    provider: str
    model: str
    request: Any
    response: Any = None
    status: Literal["unknown", "succeeded", "failed", "replayed"]
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cost_usd: Usd | None = None
    saved_usd: Usd | None = None
    cost_source: Literal["price_table", "unpriced"]
    latency_ms: Count | None = None
    finish_reason: str | None = None
    error_class: str | None = None
    error_message: str | None = None
    provider_request_id: str | None = None
    context: dict[str, Any] | None = None
    completed_at: Moment | None = None


def _request(record: dict[str, Any], source_name: str) -> None:
    without_blanks(record)
    open_json(record, JSON)
    rename(record, NAMES)
    open_json(record, PARAMETERS)  # a CSV file has numbers as texts
    if not isinstance(record.get("context"), dict | None):
        record["context"] = {"context_data": record["context"]}
    record.setdefault("attempt", 1)
    record |= {"worker_id": NOBODY, "project": source_name, "kind": "chat"}
    if "image" in str(record.get("api_variant")):
        record["kind"] = "image"
    _name(record, source_name)
    _texts(record)
    _tokens(record)
    _outcome(record)
    _time(record)


def _name(record: dict[str, Any], source_name: str) -> None:
    """Its id is made of its own and of when it was asked, so that it stands among the calls of its time."""
    identity, created = record.pop("id", None), read_moment(record.get("created_at"))
    if identity is not None:
        record["source_id"] = identity
        if created is not None:
            record["created_at"] = created.isoformat()  # text, which a reject keeps whatever its year and zone
            record["id"] = str(derived_id(created, source_name, TABLE, str(identity)))
            record["answer_key"] = f"migrated/{record['id']}"


def _texts(record: dict[str, Any]) -> None:
    """What was asked and answered, in the shape of the ledger's own."""
    messages = record.pop("messages", None)
    if isinstance(messages, dict):
        messages = messages["messages"] if isinstance(messages.get("messages"), list) else [messages]
    asked = {"messages": messages}
    if record.get("additional_params") is not None:
        asked["parameters"] = record.pop("additional_params")
    asked |= {name: record.pop(name) for name in PARAMETERS if record.get(name) is not None}
    record["request"] = asked
    content = record.pop("response_content", None)
    record["response"] = None if content is None else {"content": content}


def _tokens(record: dict[str, Any]) -> None:
    """Where one count is missing it is what the total leaves."""
    total, input_tokens, output_tokens = (
        _whole(record.get(name)) for name in ("tokens_used", "input_tokens", "output_tokens")
    )
    if total is None or (input_tokens is None) == (output_tokens is None):
        return
    missing = "input_tokens" if input_tokens is None else "output_tokens"
    if record.get(missing) is None:
        record[missing] = max(total - (input_tokens or output_tokens or 0), 0)


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _outcome(record: dict[str, Any]) -> None:
    status = record.get("status")
    record["status"] = STATUSES.get(str(status), status)
    cost = _usd(record.get("cost_estimate"))
    cached = str(record.get("cached")).casefold() in ("true", "t", "1")
    if not cost:  # its clients priced a model that they did not know at nothing
        cost = None
    record["cost_source"] = "unpriced" if cost is None else "price_table"
    record["cost_usd"] = cost
    if cached:
        record["cost_usd"] = Decimal(0)
        record["saved_usd"] = cost
        if record["status"] == "succeeded":
            record["status"] = "replayed"


def _usd(value: Any) -> Any:
    """Dollars to the ledger's last decimal, rid of what binary floats add; what is no number stays as it is."""
    try:
        return None if value is None else Decimal(str(value)).quantize(CENT_FRACTION)
    except InvalidOperation:
        return value


def _time(record: dict[str, Any]) -> None:
    created, took = read_moment(record.get("created_at")), _whole(record.get("latency_ms"))
    if created is not None and took is not None and 0 <= took < 2**31:
        aware = created if created.tzinfo else created.replace(tzinfo=UTC)
        try:
            record["completed_at"] = (aware + timedelta(milliseconds=took)).isoformat()
        except OverflowError:  # at the end of the year 9999
            return


def _open(path: str) -> Source:
    from blocks.sources.opening import named_after_files, open_source
    from blocks.sources.postgres_tables import open_postgres
    from tasks.migration.adapting import only_table

    if path.startswith(("postgres://", "postgresql://", "postgresql+")):
        return open_postgres(path, names=frozenset({TABLE}))
    return only_table(open_source(path), TABLE, by_any_name=named_after_files(path))


KIND = Kind(
    name="llm-services",
    version="1",
    description="Shared gateway: its table llm_requests, from SQLite, CSV or a Postgres URL",
    open_source=_open,
    tables=(
        Table(
            TABLE,
            RequestRecord,
            TABLE,
            prepare=_request,
            conversions=(
                IN_UTC,
                "the id is made of created_at and the source's id, which is source_id in attributes",
                "pending is unknown, completed is succeeded; a completed call with cached is a replay",
                "cost_estimate is the cost, to ten decimals; of a call with cached it is what was saved, and the cost "
                "0; an estimate of 0 is no known cost",
                "messages, parameters and response_content are the request and response; no exact bytes are kept",
                "completed_at is created_at and execution_time_ms",
                "the project is the source; no budget counts these calls",
            ),
        ),
    ),
)
