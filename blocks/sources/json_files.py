"""Records as plain JSON files: one file, or a folder with one file for each table."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from blocks.sources.json_lines import JsonLines, open_json_lines
from blocks.sources.json_strings import plain_pieces
from blocks.sources.json_table import JsonTable
from blocks.sources.records import file_fingerprint, unreadable_file
from blocks.sources.text_files import Utf8File, open_utf8
from schemas.errors import BadInput

LINES = (".jsonl", ".ndjson")


@dataclass(slots=True)
class JsonFiles:
    """Opened JSON files, a table each."""

    fingerprint: str
    description: str
    problems: list[str]
    _tables: dict[str, JsonTable | JsonLines]
    _files: list[Utf8File]

    def tables(self) -> Mapping[str, JsonTable | JsonLines]:
        """The files by name: `ai-messages.json` is `aiMessages`."""
        return self._tables

    def close(self) -> None:
        """The files are closed."""
        for file in self._files:
            file.close()


def open_json_files(path: Path) -> JsonFiles:
    """The JSON file at `path`, or those in the folder there; each is an array, or an object that wraps it.

    Files of a folder that are empty or cannot be read are told under `problems`.

    Raises:
        BadInput: there is none, or the only one cannot be read.
    """
    if not path.is_dir():
        source = JsonFiles(file_fingerprint(path), f"JSON file {path}", [], {}, [])
        _add(source, path)
        return source
    source = JsonFiles("", f"folder of JSON files {path}", [], {}, [])
    digest = hashlib.sha256()
    for each in _json_files(path):
        try:
            digest.update(f"{each.name}\0{file_fingerprint(each)}\0".encode())
            _add(source, each)
        except BadInput as error:
            source.problems.append(str(error))
    if not source._tables:
        told = f": {source.problems[0]}" if source.problems else ""
        raise BadInput(f"the folder {path} has no JSON files that can be read{told}", path=str(path))
    source.fingerprint = digest.hexdigest()
    return source


def _json_files(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.suffix.lower() in (".json", *LINES))
    except OSError as error:
        raise unreadable_file(folder, error) from error


def _add(source: JsonFiles, path: Path) -> None:
    name = camel_case(path.name.removesuffix(".gz").rsplit(".", 1)[0])
    if name in source._tables:
        source.problems.append(f"{path.name} names the table {name!r} a second time; it was not read")
        return
    if path.suffix.lower() in LINES:
        lines = open_json_lines(path)
        lines.name = name
        source._tables[name], file = lines, lines.file
    else:
        file = open_utf8(path)
        pieces = partial(plain_pieces, file.file, end=file.size())
        source._tables[name] = JsonTable(name, pieces, file.begins, path.name + "[{}]")
    source._files.append(file)
    if file.problem:
        source.problems.append(f"{path.name}: {file.problem}")


def camel_case(name: str) -> str:
    """`name` as the browser's key would be: `course-materials` is `courseMaterials`."""
    return re.sub(r"[-_]+([a-zA-Z0-9])", lambda found: found[1].upper(), name)
