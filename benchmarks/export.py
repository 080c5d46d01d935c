"""Training files of calls with feedback: Headrace, bare COPY of the same rows, and pandas, in one run.

`python -m benchmarks.export [CALLS]`; calls have 2 kB. Memory is what each takes above what its imports took.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine, text

from blocks.database import create_database, migrate, normal_url
from blocks.embedded.stack import EmbeddedStack
from schemas.training import ExportOptions
from tasks.training.bounds import Bound
from tasks.training.reading import reading
from tasks.training.writing import Moment, write_export

MIB = 1 << 20
ROWS = """
    SELECT calls.id, calls.request, calls.response, feedback.rating, feedback.notes
    FROM llm_requests AS calls LEFT JOIN feedback ON response_id = calls.id ORDER BY calls.id
"""
CALLS = """
    INSERT INTO llm_requests (id, worker_id, answer_key, attempt, project, kind, provider, model, request, response,
        status, cost_source, input_tokens, output_tokens, created_at, completed_at)
    SELECT (lpad(to_hex(1760000000000 + n), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8'
        || substr(md5(n::text), 4, 15))::uuid, gen_random_uuid(), md5(n::text), 1, 'shop', 'chat', 'openai',
        'gpt-4o-mini',
        jsonb_build_object('messages', jsonb_build_array(
            jsonb_build_object('role', 'system', 'content', 'You write product texts.'),
            jsonb_build_object('role', 'user', 'content',
                'Question ' || n || ': ' || left(repeat(md5(n::text) || ' what of "it"? ', 30), 1150)))),
        jsonb_build_object('content', 'Answer ' || n || left(repeat(md5((n + 7)::text) || ' because. ', 30), 800)),
        'succeeded', 'price_table', 400, 200, now() - interval '30 days' + n * interval '1 s',
        now() - interval '30 days' + n * interval '1 s' + interval '2 s'
    FROM generate_series(CAST(1 AS bigint), :calls) AS n
"""
SAID = """
    INSERT INTO feedback (response_id, user_id, rating, notes, created_at, updated_at)
    SELECT id, 'ada', (ARRAY['positive', 'neutral'])[1 + mod(attempt, 2)], 'fine', completed_at, completed_at
    FROM llm_requests
"""


def fill(engine: Engine, calls: int) -> None:
    """The ledger has so many calls, each with feedback."""
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text(CALLS), {"calls": calls})
        connection.execute(text(SAID))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def copy_bare(engine: Engine) -> int:
    """Rows that COPY sends, looked at no further."""
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f"COPY ({ROWS}) TO STDOUT") as copy:
            return sum(1 for _ in copy)


def export(engine: Engine, folder: Path, *, redact: bool) -> int:
    """Rows that Headrace writes."""
    options = ExportOptions(format="openai-sft", redact=redact)
    with reading(engine, options, Bound(datetime.now(UTC))) as calls:
        return write_export(folder, calls, options, Moment()).rows


def export_with_pandas(engine: Engine, path: Path) -> int:
    """Rows that pandas reads and writes, with the messages put together."""
    import pandas

    frame = pandas.read_sql(ROWS, engine)
    said = [
        [*q["messages"], {"role": "assistant", "content": a["content"]}]
        for q, a in zip(frame.request, frame.response, strict=True)
    ]
    pandas.DataFrame({"messages": said}).to_json(path, orient="records", lines=True)
    return len(frame)


def measure(name: str, work: Callable[[], int]) -> None:
    """A line about how fast it was and what memory it had taken by its end."""
    before, began = psutil.Process().memory_info().rss, time.perf_counter()
    rows = work()
    seconds = time.perf_counter() - began
    taken = (psutil.Process().memory_info().rss - before) / MIB
    print(f"{name:28} {rows / seconds:10,.0f} rows/s {seconds:8.2f} s {taken:8.0f} MiB", flush=True)


def main(calls: int = 300_000) -> None:
    """The table is on standard output."""
    with (
        tempfile.TemporaryDirectory() as made,
        EmbeddedStack(Path(made), Path(made) / "cache", idle_minutes=0) as stack,
    ):
        folder = Path(made)
        engine = create_database(normal_url(stack.database_url("export")))
        fill(engine, calls)
        copy_bare(engine)  # so that all read from memory
        measure("COPY to nowhere", lambda: copy_bare(engine))
        measure("Headrace, no redaction", lambda: export(engine, folder / "plain", redact=False))
        measure("Headrace, redaction", lambda: export(engine, folder / "redacted", redact=True))
        if _has_pandas():
            measure("pandas", lambda: export_with_pandas(engine, folder / "pandas.jsonl"))
        engine.dispose()


def _has_pandas() -> bool:
    from importlib.util import find_spec

    return find_spec("pandas") is not None


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
