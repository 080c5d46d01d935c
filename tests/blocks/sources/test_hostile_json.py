"""JSONTestSuite and naughty strings: every file as a whole source and as a value, in no case a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from blocks.sources.json_files import open_json_files
from blocks.sources.json_lines import open_json_lines
from blocks.sources.local_storage import open_local_storage
from blocks.sources.opening import open_source
from blocks.sources.records import Source
from schemas.canonical import postgres_json
from schemas.errors import BadInput
from tests.blocks.sources.exports import Delivered, cleaned, delivered, js, write_export
from tests.conftest import shared_data

GOOD = [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}]


def suite() -> list[Path]:
    return sorted(shared_data("weird/JSONTestSuite").rglob("*.json"))


def everything(source: Source) -> list[Delivered]:
    found = [delivered(table, size=2) for table in source.tables().values()]
    source.close()
    return found


def storable(found: Delivered) -> bool:
    """Whether no text of the records holds what Postgres refuses, and no number is none."""
    json.dumps(found.records, allow_nan=False)
    return cleaned(found.records) == found.records


@pytest.mark.parametrize("open_it", [open_source, open_local_storage, open_json_files, open_json_lines])
def test_every_file_as_a_whole_source_is_read_or_bad_input(open_it: Any) -> None:
    refused: list[tuple[str, str]] = []
    for path in suite():
        try:
            for found in everything(open_it(path)):
                assert storable(found), path.name
        except BadInput as error:
            refused.append((str(path), str(error)))
    assert len(refused) < len(suite())
    assert [path for path, message in refused if path not in message] == []


def test_every_file_as_a_value_leaves_the_rest_of_the_export_whole(tmp_path: Path) -> None:
    for path in suite():
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        outer = json.dumps({"threads": js(GOOD), "weird": text, "posts": js(GOOD)})
        (tmp_path / "export.json").write_text(outer)
        source = open_local_storage(tmp_path / "export.json")
        assert source.problems == []
        threads, weird, posts = everything(source)
        assert threads.records == posts.records == GOOD, path.name
        assert storable(weird), path.name
        _agrees_with_python(weird, text, path.name)


def _agrees_with_python(weird: Delivered, text: str, name: str) -> None:
    """What Python's parser takes for an array of objects comes out whole; what it refuses is named."""
    try:
        value = json.loads(text, parse_constant=lambda _: pytest.fail)
    except (ValueError, RecursionError):
        assert weird.unreadable or weird.notes or not text.strip() or "NaN" in text, name
        return
    objects = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    objects = [value] if isinstance(value, dict) else objects
    assert len(weird.records) <= len(objects), name
    assert len(weird.records) + len(weird.unreadable) == (
        len(value) if isinstance(value, list) else value is not None
    ), name


def test_every_file_as_an_element_of_an_array_leaves_its_neighbours_whole(tmp_path: Path) -> None:
    for path in suite():
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        inner = f'[{{"id":"a","text":"x"}},{{"id":"w","text":{text}}},{{"id":"b","text":"y"}},{{"id":"c","text":"z"}}]'
        (tmp_path / "export.json").write_text(json.dumps({"threads": inner}))
        (found,) = everything(open_local_storage(tmp_path / "export.json"))
        assert found.records[0] == GOOD[0], path.name
        assert [record["id"] for record in found.records][-1] == "c", path.name
        assert storable(found), path.name


def test_every_naughty_string_comes_out_as_it_went_in(tmp_path: Path) -> None:
    strings = json.loads((shared_data("weird") / "blns.json").read_text())
    records = [{"id": str(n), "text": text} for n, text in enumerate(strings)]
    assert len(records) == 515
    (found,) = everything(open_local_storage(write_export(tmp_path / "export.json", {"threads": records})))
    assert found.records == postgres_json(records)
    (tmp_path / "ascii.json").write_text(json.dumps({"threads": json.dumps(records)}))
    (found,) = everything(open_local_storage(tmp_path / "ascii.json"))
    assert found.records == postgres_json(records)
