"""Training files of calls with feedback: Headrace, bare COPY of the same rows, and pandas, in one run.

`python -m benchmarks.export [CALLS [REPEATS]]`; calls have 2 kB. COPY and Headrace take turns; memory is what the first
turn of each takes above what was there before.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import Engine, text

from benchmarks.memory import peak_mib, resident_mib
from blocks.database import create_database, migrate, normal_url
from blocks.embedded.stack import EmbeddedStack
from schemas.training import ExportOptions
from tasks.training.bounds import Bound
from tasks.training.reading import reading
from tasks.training.writing import Moment, write_export

TEXT = Path(__file__).parents[1] / "examples" / "housing-bill.txt"
"""Questions and answers are passages of it: Postgres compresses what repeats itself, and what people write does not."""
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
            jsonb_build_object('role', 'system', 'content', 'You explain bills.'),
            jsonb_build_object('role', 'user', 'content',
                'Question ' || n || ': ' || substr(:text, 1 + CAST(n * 37 % (length(:text) - 1150) AS int), 1150)))),
        jsonb_build_object('content',
            'Answer ' || n || ': ' || substr(:text, 1 + CAST(n * 101 % (length(:text) - 800) AS int), 800)),
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
        connection.execute(text(CALLS), {"calls": calls, "text": TEXT.read_text()})
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


class Measured:
    """Turns of one contestant.

    Attributes:
        rates: rows a second of each turn.
        memory: MiB that the process took more at its peak, in its first turn.
    """

    def __init__(self, name: str, work: Callable[[int], int]) -> None:
        self.name = name
        self.work = work
        self.rates: list[float] = []
        self.memory = 0.0

    def turn(self) -> None:
        """One more, and a line about it."""
        before, began = resident_mib(), time.perf_counter()
        rows = self.work(len(self.rates))
        seconds = time.perf_counter() - began
        if not self.rates:
            self.memory = max(0.0, peak_mib() - before)  # those before it took less
        self.rates.append(rows / seconds)
        print(f"{self.name:24} {rows / seconds:10,.0f} rows/s {seconds:8.2f} s", flush=True)


def report(contestants: Sequence[Measured]) -> None:
    """The medians; ratios are those of turns that followed each other, to the first of `contestants`."""
    bare, *others = contestants
    print(f"\n{bare.name:24} {median(bare.rates):10,.0f} rows/s")
    for each in others:
        ratio = median(own / its for own, its in zip(each.rates, bare.rates, strict=False))
        print(f"{each.name:24} {median(each.rates):10,.0f} rows/s {ratio:6.2f} of {bare.name} {each.memory:6.0f} MiB")


def main(calls: int = 300_000, repeats: int = 5) -> None:
    """The table is on standard output."""
    with (
        tempfile.TemporaryDirectory() as made,
        EmbeddedStack(Path(made), Path(made) / "cache", idle_minutes=0) as stack,
    ):
        folder = Path(made)
        engine = create_database(normal_url(stack.database_url("export")))
        fill(engine, calls)
        copy_bare(engine)  # so that all read from memory
        bare = Measured("COPY to nowhere", lambda turn: copy_bare(engine))
        plain = Measured("Headrace, no redaction", lambda turn: export(engine, folder / f"{turn}", redact=False))
        for _ in range(repeats):
            bare.turn()
            plain.turn()
        others = [Measured("Headrace, redaction", lambda turn: export(engine, folder / "redacted", redact=True))]
        if find_spec("pandas") is not None:
            others.append(Measured("pandas", lambda turn: export_with_pandas(engine, folder / "pandas.jsonl")))
        for each in others:
            each.turn()
        report([bare, plain, *others])
        engine.dispose()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
