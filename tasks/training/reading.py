"""Calls with what was thought of their answers, streamed from one snapshot of the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import Connection, Engine

from blocks.copying import cancel_query, stream_rows
from blocks.database import database_errors
from schemas.choices import Opinion
from schemas.training import PAIRED, ExportOptions
from tasks.training.bounds import Bound, before, committed

# Whole documents: Postgres takes longer to cut a member out of one than to send all of it.
_COLUMNS = """
    calls.id, convert_to(calls.request::text, 'UTF8'), convert_to(calls.response::text, 'UTF8'),
    coalesce(said.opinion, 'none'), said.correction, calls.model,
    calls.input_tokens, calls.output_tokens, calls.finish_reason, {score}
"""
# One row a response however many rated it; of corrections the latest counts. Applications may rate a replay themselves.
_SAID = f"""
    SELECT coalesce(replays.replayed_from, response_id) AS response_id,
        CASE sign(count(*) FILTER (WHERE rating = 'positive') - count(*) FILTER (WHERE rating = 'negative'))
            WHEN 1 THEN 'positive' WHEN -1 THEN 'negative' ELSE 'neutral' END AS opinion,
        (array_agg(correction ORDER BY said.updated_at DESC, said.id) FILTER (WHERE correction IS NOT NULL))[1]
            AS correction
    FROM feedback AS said LEFT JOIN llm_requests AS replays ON replays.id = response_id AND replayed_from IS NOT NULL
    WHERE {before("said", "said.updated_at")} GROUP BY 1
"""
# `overall` is what the latest version of the analysis gave; of a call that several sweeps replayed, the highest.
_SCORES = f"""
    SELECT request_id, max(score) AS score FROM (
        SELECT DISTINCT ON (responses.id) responses.request_id, quality_metrics.score
        FROM responses JOIN quality_metrics ON quality_metrics.response_id = responses.id
        WHERE responses.request_id IS NOT NULL AND metric = 'overall'
            AND {committed("responses")} AND {committed("quality_metrics")}
        ORDER BY responses.id, analysis_version DESC, quality_metrics.id
    ) AS latest GROUP BY request_id
"""
# Of what was migrated it is not always known how long it took.
_ALWAYS = f"""
    calls.kind = 'chat' AND calls.status = 'succeeded'
    AND {before("calls", "coalesce(calls.completed_at, calls.created_at)")}
"""
_WHEN_SET = {
    "project": "calls.project = %(project)s",
    "since": "calls.created_at >= %(since)s",
    "before": "calls.created_at < %(before)s",
    "insight_types": "calls.insight_type = ANY(%(insight_types)s)",
    "models": "(calls.model = ANY(%(models)s) OR calls.answered_model = ANY(%(models)s))",
    "model_versions": "calls.model_version = ANY(%(model_versions)s)",
    "opinions": "coalesce(said.opinion, 'none') = ANY(%(opinions)s)",
    "min_score": "scores.score >= %(min_score)s",
}


class CallRead(NamedTuple):
    """An answered call as it is read.

    Attributes:
        request: JSON with `messages`, and `output_schema` where the answer had to meet one; None where the row does not
            tell.
        response: JSON with `content`, likewise.
        score: `overall`, where a sweep scored the answer.
    """

    id: UUID
    request: bytes | None
    response: bytes | None
    opinion: Opinion
    correction: str | None
    model: str
    input_tokens: int | None
    output_tokens: int | None
    finish_reason: str | None
    score: float | None


@dataclass(frozen=True)
class Calls:
    """Every answered chat call that the filters of `options` let through, once; the same however often they are read.

    In the order of their ids; for formats of pairs, calls with the same prompt beside each other.
    """

    connection: Connection
    options: ExportOptions
    bound: Bound

    def __iter__(self) -> Iterator[CallRead]:
        """They are streamed.

        Raises:
            DatabaseUnavailable: the connection was lost.
        """
        query, values = _query(self.options), self.options.model_dump() | self.bound.values(self.connection)
        values |= {name: list(value) for name, value in values.items() if isinstance(value, tuple)}
        with closing(stream_rows(self.connection, query, values)) as rows:
            yield from map(CallRead._make, rows)

    def stop(self) -> None:
        """Whoever reads them in another thread no longer waits for Postgres, but meets an error."""
        cancel_query(self.connection)


@contextmanager
def reading(engine: Engine, options: ExportOptions, bound: Bound) -> Iterator[Calls]:
    """Inside, the calls can be read, from one snapshot."""
    with database_errors(), engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        yield Calls(connection, options, bound)


def _query(options: ExportOptions) -> str:
    scored = options.min_score is not None or (options.format in PAIRED and "scores" in options.pairs)
    given = options.model_dump()
    filters = [_ALWAYS, *(sql for name, sql in _WHEN_SET.items() if given[name] not in (None, "", ()))]
    columns = _COLUMNS.format(score="scores.score" if scored else "NULL::float8")
    scores = f"LEFT JOIN ({_SCORES}) AS scores ON scores.request_id = calls.id" if scored else ""
    order = "md5((calls.request -> 'messages')::text), calls.id" if options.format in PAIRED else "calls.id"
    return f"""
        SELECT {columns} FROM llm_requests AS calls LEFT JOIN ({_SAID}) AS said ON said.response_id = calls.id {scores}
        WHERE {" AND ".join(filters)} ORDER BY {order}
    """


def parse(document: bytes | None) -> dict[str, Any]:
    """The object of a document; an empty one where it is NULL or something else."""
    value = {} if document is None else orjson.loads(document)
    return value if isinstance(value, dict) else {}
