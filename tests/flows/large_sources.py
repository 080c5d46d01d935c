"""Sources large enough to be killed in, one of each kind: as they were, and as they are later.

Later, some records are others, some are gone, some are new; of each table some do not fit.
"""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.flows.older import Records, as_csv, as_json

AT = "2025-11-08T10:00:00+00:00"
MAPPING = {
    "target": "courses",
    "key": "code",
    "columns": {"name": "label", "status": {"value": "active"}, "enrollment_count": "seats"},
}


@dataclass(frozen=True)
class Large:
    """A source in two states.

    Attributes:
        tables: ours that it fills.
        options: of `headrace migrate`.
        write: writes the records of a state into a folder that is empty; returns the source.
    """

    kind: str
    tables: tuple[str, ...]
    write: Callable[[Path, Records], Path]
    records: Callable[[bool], Records]
    options: Callable[[Path], tuple[object, ...]] = lambda folder: ()


def numbers(count: int, *, later: bool) -> list[int]:
    """Of the records numbered up to `count` those that there are: a tenth is gone later, and a third is new."""
    return [number for number in range(count) if (number % 10 != 9 if later else number % 3 != 2)]


def told(number: int, *, later: bool) -> str:
    """A text of the record, which is another one later for some."""
    return f"{'Now' if later and number % 10 == 4 else 'Why'} {number}? " + "So it goes. " * 12


def uuid(kind: int, number: int) -> str:
    return f"{kind:08d}-0000-4000-8000-{number:012d}"


def laboratory(later: bool) -> Records:
    responses = numbers(1500, later=later)
    return {
        "experiments": [
            {"id": n, "name": told(n, later=later), "prompt": "Why?", "status": "draft", "created_at": AT}
            for n in numbers(40, later=later)
        ],
        "responses": [
            {"id": n, "experiment_id": n % 40, "content": told(n, later=later), "created_at": AT if n % 500 else None}
            for n in responses
        ],
        "quality_metrics": [
            {"id": n, "response_id": n, "metric_name": "overall", "score": n % 101, "created_at": AT} for n in responses
        ],
    }


def gateway(later: bool) -> Records:
    return {
        "llm_requests": [
            {"id": uuid(1, n), "user_id": n % 7, "provider": "openai", "model": "gpt-5",
             "messages": json.dumps([{"role": "user", "content": "Why?"}]), "response_content": told(n, later=later),
             "input_tokens": n % 100, "output_tokens": 20, "cost_estimate": 0.25, "created_at": AT,
             "status": "completed" if n % 500 else "lost"}
            for n in numbers(3000, later=later)
        ]
    }  # fmt: skip


def keywords(later: bool) -> Records:
    asked = numbers(1500, later=later)
    return {
        "lexybrain_requests": [
            {"id": uuid(1, n), "user_id": uuid(9, n % 5), "prompt": told(n, later=later) if n % 500 else None,
             "context_json": {"market": "us"}, "requested_at": AT, "insight_type": "radar", "market": "us"}
            for n in asked
        ],
        "lexybrain_responses": [
            {"id": uuid(2, n), "request_id": uuid(1, n), "model_name": "llama-3-8b", "output_json": {"niche": n},
             "generated_at": AT, "latency_ms": n, "success": True, "tokens_in": 300, "tokens_out": 120}
            for n in asked
        ],
        "lexybrain_feedback": [
            {"id": uuid(3, n), "response_id": uuid(2, n), "user_id": uuid(9, 1), "feedback": "positive",
             "notes": told(n, later=later), "created_at": AT}
            for n in asked
        ],
    }  # fmt: skip


def analyser(later: bool) -> Records:
    runs = numbers(1000, later=later)
    return {
        "pipeline_runs": [
            {"id": uuid(1, n), "bill_id": f"AB-{n}", "jurisdiction": "California", "generate_model": "zai/glm-4.6",
             "review_model": "zai/glm-4.6", "status": "running" if n % 7 == 0 else "completed", "started_at": AT,
             "completed_at": AT, "analysis_json": {"summary": told(n, later=later)}}
            for n in runs
        ],
        "pipeline_steps": [
            {"id": uuid(2, 10 * n + each), "run_id": uuid(1, n), "step": name, "model": "zai/glm-4.6",
             "output": {"told": told(n, later=later)}, "timestamp": AT}
            for n in runs for each, name in enumerate(("research", "generate"))
        ],
        "cost_tracking": [
            {"id": uuid(3, n), "model": "zai/glm-4.6", "step": "generate", "cost_usd": 0.25 if n % 500 else -1,
             "tokens_used": n, "timestamp": AT, "project": "affordabot"}
            for n in runs
        ],
        "web_search_cache": [
            {"cache_key": f"{n:064d}", "query": told(n, later=later), "results": [{"title": "A"}], "cached_at": AT,
             "hit_count": 3}
            for n in numbers(500, later=later)
        ],
    }  # fmt: skip


def seminar(later: bool) -> Records:
    """So many rows that they are loaded in several chunks."""
    return {
        "courses": [
            {"code": f"C{n}", "label": told(n, later=later)[:9], "seats": n if n % 999 else "many"}
            for n in numbers(60_000, later=later)
        ]
    }  # fmt: skip


def advice(later: bool) -> Records:
    return {
        "conversations": [
            {
                "id": uuid(6, n),
                "user_id": uuid(7, n % 50),
                "role": "narrator" if n % 700 == 0 else "user" if n % 2 else "assistant",
                "content": told(n, later=later),
                "timestamp": f"2025-11-08T{n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d}",
                "page": ("portfolio", "tax_planning", None)[n % 3],
            }
            for n in numbers(3000, later=later)
        ]
    }


def as_sqlite(folder: Path, records: Records) -> Path:
    """The records as the laboratory's file, on which its own id is the rowid."""
    with closing(sqlite3.connect(folder / "lab.sqlite")) as connection:
        for table, rows in records.items():
            connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, {', '.join(list(rows[0])[1:])})")
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", [list(row.values()) for row in rows])
        connection.commit()
    return folder / "lab.sqlite"


def as_one_csv(folder: Path, records: Records) -> Path:
    """The only table of the records as a file."""
    (name,) = records
    return as_csv(folder, records) / f"{name}.csv"


def as_dump(folder: Path, records: Records) -> Path:
    """The records as `pg_dump` writes them."""
    path = folder / "dump.sql"
    with path.open("w", newline="") as file:
        for table, rows in records.items():
            file.write(f"COPY public.{table} ({', '.join(rows[0])}) FROM stdin;\n")
            writer = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
            writer.writerows([_copied(value) for value in row.values()] for row in rows)
            file.write("\\.\n\n\n")
    return path


def _copied(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else r"\N" if value is None else value


def with_mapping(folder: Path) -> tuple[object, ...]:
    path = folder / "mapping.json"
    path.write_text(json.dumps(MAPPING))
    return ("--mapping", path)


LARGE = {
    each.kind: each
    for each in (
        Large("llm-lab", ("experiments", "responses", "quality_metrics"), as_sqlite, laboratory),
        Large("affordabot", ("runs", "steps", "llm_requests", "web_search_cache"), as_dump, analyser),
        Large("lexybrain", ("llm_requests", "feedback"), as_json, keywords),
        Large("llm-services", ("llm_requests",), as_one_csv, gateway),
        Large("prime-radiant", ("users", "ai_conversations", "ai_messages"), as_json, advice),
        Large("table", ("courses",), as_one_csv, seminar, with_mapping),
    )
}
