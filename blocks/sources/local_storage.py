"""A browser's localStorage as one JSON object: its values are JSON text of arrays, inside strings.

The file is passed over once to find where each value stands (and for its SHA-256); a value is then unescaped,
split and parsed as a stream. Values that are given as plain JSON, not as text of it, are read as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from blocks.sources.json_members import Member, MemberScan
from blocks.sources.json_strings import plain_pieces, unescaped_pieces
from blocks.sources.json_table import JsonTable, table_name
from blocks.sources.records import file_fingerprint
from blocks.sources.text_files import Utf8File, open_utf8
from schemas.errors import BadInput


@dataclass(slots=True)
class LocalStorage:
    """An opened localStorage export."""

    fingerprint: str
    description: str
    problems: list[str]
    _file: Utf8File
    _tables: dict[str, JsonTable] = field(default_factory=dict)

    def tables(self) -> Mapping[str, JsonTable]:
        """The values by key without prefix, in the order of the file."""
        return self._tables

    def close(self) -> None:
        """The file is closed."""
        self._file.close()


def open_local_storage(path: Path) -> LocalStorage:
    """The export at `path`, its values found but not read.

    Raises:
        BadInput: it cannot be read, or is no JSON object.
    """
    file = open_utf8(path)
    scan = MemberScan(file.file, file.begins)
    try:
        fingerprint = scan.run()
    except ValueError as error:
        file.close()
        raise BadInput(f"{path} is no localStorage export: a JSON object of arrays should be in it") from error
    if file.begins == 0 and file.problem:
        fingerprint = file_fingerprint(path)
    problems = [file.problem] if file.problem else []
    source = LocalStorage(fingerprint, f"localStorage export {path}", [*problems, *scan.problems], file)
    for member in scan.members:
        _add_table(source, member)
    return source


def _add_table(source: LocalStorage, member: Member) -> None:
    """The member is a table; of two with one name the later counts, as for a browser, unless it is null or a number."""
    name = table_name(member.key)
    if name in source._tables:
        if member.shape == "plain":
            return
        source.problems.append(f"the key {name!r} stands twice; the later value is read")
    read: Callable[..., Iterator[tuple[bytes, int]]]
    read = unescaped_pieces if member.shape == "string" else plain_pieces
    pieces = partial(read, source._file.file, end=member.end)
    source._tables[name] = JsonTable(name, pieces, member.begin, name + "[{}]", truncated=not member.closed)
