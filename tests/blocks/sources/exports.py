"""What the tests of readers share: exports as a browser writes them, and all that a source delivers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blocks.sources.records import SourceTable, Unreadable
from schemas.canonical import postgres_text


@dataclass
class Delivered:
    """All of one table."""

    indexes: list[int] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)


def delivered(table: SourceTable, size: int = 100, start: int = 0) -> Delivered:
    """All chunks of `table`, joined; each is checked to be what a chunk should be."""
    found = Delivered()
    for chunk in table.chunks(size, start):
        assert len(chunk.indexes) == len(chunk.records)
        assert 0 < len(chunk.records) + len(chunk.unreadable) <= size
        found.indexes += chunk.indexes
        found.records += chunk.records
        found.unreadable += chunk.unreadable
        found.notes += chunk.notes
        found.positions.append(chunk.position)
    return found


def js(value: Any) -> str:
    """`value` as `JSON.stringify` writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write_export(path: Path, values: Mapping[str, Any], *, texts: Mapping[str, str] | None = None) -> Path:
    """A localStorage export: each of `values` as JSON text in a string, null as null, `texts` as they are."""
    outer = {key: None if value is None else js(value) for key, value in values.items()} | dict(texts or {})
    path.write_text(js(outer), encoding="utf-8", errors="surrogatepass")
    return path


def cleaned(value: Any) -> Any:
    """`value` with all texts as Postgres can store them."""
    if isinstance(value, dict):
        return {postgres_text(key): cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    return postgres_text(value) if isinstance(value, str) else value
