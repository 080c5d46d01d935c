"""Opening a source by what it holds, not by what it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import orjson

from blocks.sources.records import Source, open_file, unreadable_file
from blocks.sources.text_files import open_utf8
from schemas.errors import BadInput

Reader = Literal["local_storage", "json_files", "json_lines", "sqlite", "delimited", "parquet", "postgres", "sql_dump"]
_HEAD_BYTES = 1 << 20
_NAMED_AFTER_FILES: tuple[Reader, ...] = ("json_files", "json_lines", "delimited", "parquet")
_LINES = (".jsonl", ".ndjson")
_DUMP_BEGINNINGS = (b"--", b"SET ", b"COPY ", b"INSERT ", b"CREATE ", b"BEGIN", b"\\restrict", b"/*")


def open_source(path_or_url: str | Path, reader: Reader | None = None) -> Source:
    """The file, folder or Postgres URL, opened by the reader that its content asks for, or by the one named.

    Raises:
        BadInput: it does not exist, cannot be read, or is no format that is known.
        DatabaseUnavailable: the server of a URL cannot be reached.
    """
    if reader is not None and reader not in get_args(Reader):
        raise BadInput(f"there is no reader {reader!r}; there are {', '.join(get_args(Reader))}")
    if reader == "postgres" or (reader is None and is_url(path_or_url)):
        from blocks.sources.postgres_tables import open_postgres

        return open_postgres(str(path_or_url))
    path = Path(path_or_url).expanduser()
    return _opened(reader or recognised(path), path)


def named_after_files(path_or_url: str | Path) -> bool:
    """Whether the tables of a source have no names but those of its files."""
    return not is_url(path_or_url) and recognised(Path(path_or_url).expanduser()) in _NAMED_AFTER_FILES


def is_url(path_or_url: str | Path) -> bool:
    return isinstance(path_or_url, str) and path_or_url.startswith(("postgres://", "postgresql://", "postgresql+"))


def _opened(reader: Reader, path: Path) -> Source:
    if reader == "local_storage":
        from blocks.sources.local_storage import open_local_storage

        return open_local_storage(path)
    if reader == "json_files":
        from blocks.sources.json_files import open_json_files

        return open_json_files(path)
    if reader == "json_lines":
        from blocks.sources.json_lines import open_json_lines

        return open_json_lines(path)
    return _opened_table(reader, path)


def _opened_table(reader: Reader, path: Path) -> Source:
    if reader == "sqlite":
        from blocks.sources.sqlite import open_sqlite

        return open_sqlite(path)
    if reader == "delimited":
        from blocks.sources.delimited import open_delimited

        return open_delimited(path)
    if reader == "parquet":
        from blocks.sources.parquet import open_parquet

        return open_parquet(path)
    from blocks.sources.sql_dump import open_sql_dump

    return open_sql_dump(path)


def recognised(path: Path) -> Reader:
    """Which reader the file or folder at `path` asks for.

    Raises:
        BadInput: it cannot be read, is empty, or is no format that is known.
    """
    if path.is_dir():
        return "json_files"
    with open_file(path) as file:
        try:
            magic = file.read(16)
        except OSError as error:
            raise unreadable_file(path, error) from error
    if magic.startswith(b"SQLite format 3\x00"):
        return "sqlite"
    if magic.startswith(b"PAR1"):
        return "parquet"
    if magic.startswith(b"PGDMP"):
        return "sql_dump"
    return _recognised_text(path)


def _recognised_text(path: Path) -> Reader:
    text = open_utf8(path)
    try:
        text.file.seek(text.begins)
        head = text.file.read(_HEAD_BYTES)
    finally:
        text.close()
    lines = path.name.removesuffix(".gz").lower().endswith(_LINES)
    beginning = head.lstrip()
    if lines or _is_lines(beginning):
        return "json_lines"
    if beginning[:1] in (b"{", b"["):
        return "local_storage" if beginning.startswith(b"{") else "json_files"
    if path.suffix.lower() == ".sql" or beginning.upper().startswith(_DUMP_BEGINNINGS):
        return "sql_dump"
    if b"\x00" in head or path.suffix.lower() == ".json":
        raise BadInput(f"{path} is no source that is known: give {_KNOWN}", path=str(path))
    return "delimited"


_KNOWN = "a localStorage export, JSON, JSON lines, CSV, Parquet, SQLite, a plain SQL dump or a Postgres URL"


def _is_lines(text: bytes) -> bool:
    """Whether the first line is an object of its own and another one follows."""
    first, _, rest = text.partition(b"\n")
    if not first.startswith(b"{") or not rest.lstrip().startswith(b"{"):
        return False
    try:
        orjson.loads(first)
    except orjson.JSONDecodeError:
        return False
    return True
