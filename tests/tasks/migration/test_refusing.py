"""Secrets in what is no record: a password is in no reject, wherever the source is damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.sources.opening import open_source
from schemas.errors import BadInput
from tasks.migration.refusing import REFUSED, Refusal

USERS = [
    {"id": "a", "name": "A", "password": "hunter2", "role": "x"},
    {"id": "b", "password": "hunter2"},
    {"id": "c", "profile": {"password": "hunter2", "z": [1]}, "n": "x"},
]


def said(path: Path) -> Iterator[str]:
    """Everything that a migration would keep of what is no record of the source, or why it is none."""
    try:
        source = open_source(path)
    except BadInput as error:
        yield str(error)
        return
    yield from source.problems
    for table in source.tables().values():
        for chunk in table.chunks(100):
            for piece in chunk.unreadable:
                yield piece.reason
                yield Refusal().redact(piece.raw, (table.name, *piece.columns))
            yield from (note for _, note in chunk.notes)
    source.close()


@pytest.mark.parametrize("instead", ["", '"', "}", "{", "\\", "]", ","])
@pytest.mark.parametrize("encoded", [True, False])
def test_no_damage_to_an_export_lets_a_password_out(tmp_path: Path, instead: str, encoded: bool) -> None:
    path, stored = tmp_path / "export.json", json.dumps(USERS)
    for place in range(len(stored)):
        damaged = stored[:place] + instead + stored[place + 1 :]
        path.write_text(f'{{"quokkaq.users": {json.dumps(damaged) if encoded else damaged}, "quokkaq.courses": "[]"}}')
        assert "hunter2" not in "\n".join(said(path)), (place, instead)


@pytest.mark.parametrize("name", ["users.csv", "users.sql"])
def test_rows_that_do_not_name_their_columns_are_refused_whole_where_one_of_them_is_a_secret(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_text(
        "id,password\n1,hunter2,too many\n"
        if name == "users.csv"
        else "COPY users (id, password) FROM stdin;\n1\thunter2\ttoo many\n\\.\n"
    )
    found = list(said(path))
    assert REFUSED in found
    assert "hunter2" not in "\n".join(found)
