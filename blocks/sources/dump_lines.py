"""The syntax of plain `pg_dump` files: COPY rows, INSERT statements, CREATE TABLE columns. Nothing is executed.

Format: https://www.postgresql.org/docs/current/sql-copy.html (text format), and SQL string constants.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_NAME = rb'(?:"(?:[^"]|"")+"|[\w$\x80-\xff]+)'
_QUALIFIED = rb"((?:" + _NAME + rb"\s*\.\s*)*" + _NAME + rb")"
COPY = re.compile(rb"COPY\s+" + _QUALIFIED + rb"\s*(?:\((.*)\))?\s+FROM\s+stdin\b.*;\s*$", re.IGNORECASE)
INSERT = re.compile(rb"INSERT\s+INTO\s+(?:ONLY\s+)?" + _QUALIFIED + rb"\s*", re.IGNORECASE)
CREATE = re.compile(
    rb"CREATE\s+(?:UNLOGGED\s+|TEMP\w*\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?" + _QUALIFIED + rb"\s*\(", re.IGNORECASE
)
VALUES = re.compile(rb"\s*(?:OVERRIDING\s+\w+\s+VALUE\s+)?VALUES\s*", re.IGNORECASE)
_EACH_NAME = re.compile(_NAME)
_CONSTRAINTS = frozenset({"constraint", "primary", "unique", "foreign", "check", "exclude", "like"})

_COPY_ESCAPE = re.compile(rb"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)", re.DOTALL)
_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_VALUE = re.compile(
    rb"""\s*(?:
        [eE]'(?P<escaped>(?:[^'\\]|\\.|'')*)'
      | '(?P<text>(?:[^']|'')*)'
      | (?P<bare>[^\s,()';]+)
    )(?:\s*::\s*[\w."]+(?:\s*\([\d,\s]*\))?(?:\[\])*)*\s*""",
    re.VERBOSE | re.DOTALL,
)
_STRING_ESCAPE = re.compile(rb"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)|''", re.DOTALL)
_QUOTED_TEXT = re.compile(rb"[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)


def table_names(qualified: bytes) -> list[str]:
    """The parts of a possibly qualified, possibly quoted name: schema and table."""
    return [_unquoted(name) for name in _EACH_NAME.findall(qualified)]


def _unquoted(name: bytes) -> str:
    text = name.decode("utf-8", "replace")
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def copy_row(line: bytes) -> list[bytes | None]:
    """The fields of one line of COPY's text format; NULL is None."""
    if b"\\" not in line:
        return [*line.split(b"\t")]
    return [None if field == rb"\N" else _COPY_ESCAPE.sub(_copy_escape, field) for field in line.split(b"\t")]


def _copy_escape(found: re.Match[bytes]) -> bytes:
    code = found[1]
    if code[:1] == b"x" and len(code) > 1:
        return bytes([int(code[1:], 16)])
    if code[:1] in b"01234567":
        return bytes([int(code, 8) & 255])
    return _LETTERS.get(code, code)


def insert_rows(values: bytes) -> Iterator[list[bytes | None] | None]:
    """The rows of a VALUES list, as the texts of their values; None in place of what is no row of constants."""
    position = 0
    while (begin := values.find(b"(", position)) >= 0:
        row, position = _insert_row(values, begin + 1)
        yield row
        if row is None:
            return


def _insert_row(values: bytes, position: int) -> tuple[list[bytes | None] | None, int]:
    row: list[bytes | None] = []
    while found := _VALUE.match(values, position):
        row.append(_constant(found))
        position = found.end()
        stop = values[position : position + 1]
        position += 1
        if stop == b")":
            return row, position
        if stop != b",":
            break
    return None, position


def _constant(found: re.Match[bytes]) -> bytes | None:
    if found["escaped"] is not None:
        return _STRING_ESCAPE.sub(_string_escape, found["escaped"])
    if found["text"] is not None:
        return found["text"].replace(b"''", b"'")
    return None if found["bare"].upper() == b"NULL" else found["bare"]


def _string_escape(found: re.Match[bytes]) -> bytes:
    code = found[1]
    if code is None:
        return b"'"
    if code[:1] in b"uU" and len(code) > 1:
        return chr(min(int(code[1:], 16), 0x10FFFF)).encode("utf-8", "surrogatepass")
    return _copy_escape(found)


def statement_ends(text: bytes) -> bool:
    """Whether `text`, the beginning of a statement, has its closing semicolon at the end of a line."""
    return _QUOTED_TEXT.sub(b"", text).rstrip().endswith(b";") and b"'" not in _QUOTED_TEXT.sub(b"", text)


def created_columns(definition: bytes) -> list[str]:
    """The column names of what stands in the brackets of a CREATE TABLE."""
    plain = re.sub(rb"\([^()]*\)", b"", re.sub(rb"\([^()]*\)", b"", re.sub(rb"'(?:[^']|'')*'", b"", definition)))
    names = [match for part in plain.split(b",") if (match := _EACH_NAME.match(part.strip()))]
    return [_unquoted(name[0]) for name in names if name[0].decode("utf-8", "replace").lower() not in _CONSTRAINTS]
