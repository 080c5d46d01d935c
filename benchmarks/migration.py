"""A large export of the course forum into Postgres: by Headrace, twice, by the bare minimum, and by dlt's merge.

The bare minimum parses the whole export with orjson and copies its records into the same tables, indexes and foreign
keys included; it checks nothing. dlt (left out where it is not installed) merges by id into tables that it makes. Each
turn has a database of its own and is a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.forum_export import write_export

if TYPE_CHECKING:
    from psutil import Process

BARE_COLUMNS = {
    "users": ("users", {"id": "id", "name": "name", "email": "email", "role": "role", "created_at": "createdAt"}),
    "courses": (
        "courses",
        {
            "id": "id",
            "code": "code",
            "name": "name",
            "term": "term",
            "description": "description",
            "instructor_ids": "instructorIds",
            "enrollment_count": "enrollmentCount",
            "status": "status",
            "created_at": "createdAt",
        },
    ),
    "threads": (
        "threads",
        {
            "id": "id",
            "course_id": "courseId",
            "author_id": "authorId",
            "title": "title",
            "content": "content",
            "status": "status",
            "tags": "tags",
            "views": "views",
            "created_at": "createdAt",
            "updated_at": "updatedAt",
        },
    ),
    "courseMaterials": (
        "course_materials",
        {
            "id": "id",
            "course_id": "courseId",
            "type": "type",
            "title": "title",
            "content": "content",
            "keywords": "keywords",
            "created_at": "createdAt",
            "updated_at": "updatedAt",
        },
    ),
    "aiConversations": (
        "ai_conversations",
        {
            "id": "id",
            "user_id": "userId",
            "course_id": "courseId",
            "title": "title",
            "message_count": "messageCount",
            "created_at": "createdAt",
            "updated_at": "updatedAt",
        },
    ),
    "conversationMessages": (
        "ai_messages",
        {
            "id": "id",
            "conversation_id": "conversationId",
            "role": "role",
            "content": "content",
            "created_at": "timestamp",
        },
    ),
}
"""By key of the export: the table, and the field of each of its columns."""


def bare(url: str, export: Path) -> dict[str, Any]:
    """The export, parsed whole and copied."""
    from operator import itemgetter

    import orjson
    import psycopg

    began, used = time.perf_counter(), time.process_time()
    rows = 0
    parsed = orjson.loads(export.read_bytes())
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        for key, (table, columns) in BARE_COLUMNS.items():
            records = orjson.loads(parsed[f"quokkaq.{key}"])
            values = itemgetter(*columns.values())
            with connection.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
                for record in records:
                    copy.write_row(values(record))
            rows += len(records)
    seconds = time.perf_counter() - began
    return {"rows": rows, "seconds": seconds, "client_cpu_seconds": time.process_time() - used}


def headrace(url: str, export: Path) -> dict[str, Any]:
    """The export, migrated; imports are not counted, as those of the bare minimum are not."""
    import os

    import great_expectations  # noqa: F401

    from flows.migration import migrate_data

    os.environ["DATABASE_URL"] = url

    async def turn() -> Any:
        from tasks.ledger.session import open_ledger

        async with open_ledger():
            began, used = time.perf_counter(), time.process_time()
            report = await migrate_data.fn(kind="quokkaq", source=str(export))
            return report, time.perf_counter() - began, time.process_time() - used

    report, seconds, used = asyncio.run(turn())
    assert all(table.reconciled for table in report.tables)
    return {"rows": report.rows, "seconds": seconds, "client_cpu_seconds": used, "already_done": report.already_done}


def dlt(url: str, export: Path) -> dict[str, Any]:
    """The export, parsed whole and merged by dlt into tables of its own, which have no foreign keys."""
    import os

    import dlt as library
    import orjson
    from sqlalchemy import make_url

    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    address = make_url(url)
    credentials = {"drivername": "postgresql", "database": address.database, "username": address.username}
    credentials |= {"password": address.password or "none", "host": "localhost", "port": address.port or 5432}
    if folder := address.query.get("host"):
        credentials["query"] = {"host": folder}
    with tempfile.TemporaryDirectory() as pipelines:
        began, used = time.perf_counter(), time.process_time()
        parsed = orjson.loads(export.read_bytes())
        tables = {table: orjson.loads(parsed[f"quokkaq.{key}"]) for key, (table, _) in BARE_COLUMNS.items()}
        pipeline = library.pipeline(
            "forum",
            destination=library.destinations.postgres(credentials=credentials),
            dataset_name="by_dlt",
            pipelines_dir=pipelines,
        )
        resources = [
            library.resource(records, name=table, primary_key="id", write_disposition="merge")
            for table, records in tables.items()
        ]
        pipeline.run(resources).raise_on_failed_jobs()
        seconds, used = time.perf_counter() - began, time.process_time() - used
    return {"rows": sum(map(len, tables.values())), "seconds": seconds, "client_cpu_seconds": used}


CONTESTANTS = {"bare": bare, "headrace": headrace, "dlt": dlt}


def contestants() -> list[str]:
    """Those that can be had here."""
    there = [name for name in CONTESTANTS if name != "dlt" or find_spec("dlt")]
    if len(there) < len(CONTESTANTS):
        print("dlt is not installed and left out: pip install 'dlt[postgres]'", file=sys.stderr)
    return there


def one_turn(contestant: str, url: str, export: Path) -> None:
    """One turn of one contestant; its result goes to standard output as JSON."""
    result = CONTESTANTS[contestant](url, export)
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))


def run(messages: int, repeats: int) -> list[dict[str, Any]]:
    """Turns of all contestants, one after the other, `repeats` times."""
    from psutil import Process

    from blocks.database import create_database, migrate, normal_url
    from blocks.embedded.stack import EmbeddedStack

    results = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home, export = Path(folder) / "home", Path(folder) / "export.json"
        write_export(export, messages=messages)
        with EmbeddedStack(home, home / "cache", idle_minutes=0) as stack:
            stack.database_url("postgres")  # starts the server
            postmaster = int((home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
            for repeat in range(repeats):
                for name in contestants():
                    url = stack.database_url(f"{name}_{repeat}")
                    engine = create_database(normal_url(url))
                    migrate(engine)
                    engine.dispose()
                    for label in (name, "headrace again") if name == "headrace" else (name,):
                        command = [sys.executable, "-m", "benchmarks.migration", "--turn", name, url, str(export)]
                        before = server_cpu_seconds(Process(postmaster))
                        done = subprocess.run(command, capture_output=True, text=True, check=True)
                        result = {"contestant": label, **json.loads(done.stdout.splitlines()[-1])}
                        result["server_cpu_seconds"] = server_cpu_seconds(Process(postmaster)) - before
                        results.append(result)
                        print(_told(result), file=sys.stderr)
    return results


def server_cpu_seconds(postmaster: Process) -> float:
    """CPU that the server and all its processes, gone ones included, have used."""
    from psutil import NoSuchProcess

    own = postmaster.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for process in postmaster.children(recursive=True):
        with suppress(NoSuchProcess):  # it may end meanwhile
            times = process.cpu_times()
            total += times.user + times.system
    return float(total)


def _told(result: dict[str, Any]) -> str:
    pace = result["rows"] / result["seconds"]
    return (
        f"{result['contestant']:>15} {result['rows']:>10,} rows {result['seconds']:8.1f} s {pace:10,.0f} rows/s "
        f"{result['client_cpu_seconds']:7.1f} + {result['server_cpu_seconds']:.1f} s CPU {result['peak_mb']:7,.0f} MB"
    )


def compared(results: Sequence[dict[str, Any]]) -> list[str]:
    """What the issue asks, from the best turn of each contestant."""
    best: dict[str, dict[str, Any]] = {}
    for result in results:
        known = best.get(result["contestant"])
        if known is None or result["seconds"] < known["seconds"]:
            best[result["contestant"]] = result
    pace = {name: result["rows"] / result["seconds"] for name, result in best.items()}
    lines = [f"headrace / bare: {pace['headrace'] / pace['bare']:.2f} (at least 0.5)"]
    if "dlt" in pace:
        lines.append(f"headrace / dlt: {pace['headrace'] / pace['dlt']:.1f} (at least 3.5)")
    again = best["headrace again"]["seconds"] / best["headrace"]["seconds"]
    lines.append(f"again / first: {again:.2f} (at most 0.33)")
    peak = max(result["peak_mb"] for result in results if result["contestant"].startswith("headrace"))
    return [*lines, f"peak of headrace: {peak:,.0f} MB (below 1,024)"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, or one turn of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--turn", nargs=3, metavar=("CONTESTANT", "URL", "EXPORT"), help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.turn:
        name, url, export = chosen.turn
        one_turn(name, url, Path(export))
        return
    results = run(chosen.messages, chosen.repeats)
    for line in compared(results):
        print(line, file=sys.stderr)
    if chosen.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
