"""Sources opened for certain tables: from a database only those, from a folder every file that can be read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from blocks.sources.opening import is_url, open_source
from blocks.sources.records import Source, SourceTable, unreadable_file
from schemas.errors import BadInput


@dataclass(slots=True)
class Folder:
    """An opened folder of files in any format that is known; their tables are those of all of them."""

    fingerprint: str
    description: str
    problems: list[str] = field(default_factory=list)
    _tables: dict[str, SourceTable] = field(default_factory=dict)
    _sources: list[Source] = field(default_factory=list)

    def tables(self) -> Mapping[str, SourceTable]:
        """The tables of all files, by name."""
        return self._tables

    def close(self) -> None:
        """The files are closed."""
        for source in self._sources:
            source.close()


def open_tables(path_or_url: str, names: frozenset[str]) -> Source:
    """The file, folder or Postgres URL; of a database only the tables of `names`.

    Raises:
        BadInput: it cannot be read, or a database has none of these tables.
        DatabaseUnavailable: the server of a URL cannot be reached.
    """
    if is_url(path_or_url):
        from blocks.sources.postgres_tables import open_postgres

        return open_postgres(path_or_url, names=names)
    path = Path(path_or_url).expanduser()
    return _open_folder(path) if path.is_dir() else open_source(path)


def _open_folder(path: Path) -> Folder:
    """Every file of the folder that can be read; the others are told under `problems`.

    Raises:
        BadInput: there is none.
    """
    try:
        files = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    except OSError as error:
        raise unreadable_file(path, error) from error
    folder = Folder("", f"folder {path}")
    digest = hashlib.sha256()
    for each in files:
        try:
            source = open_source(each)
        except BadInput as error:
            folder.problems.append(str(error))
            continue
        folder._sources.append(source)
        digest.update(f"{each.name}\0{source.fingerprint}\0".encode())
        _add(folder, each, source)
    if not folder._tables:
        raise BadInput(f"the folder {path} has no files that can be read", path=str(path))
    folder.fingerprint = digest.hexdigest()
    return folder


def _add(folder: Folder, path: Path, source: Source) -> None:
    folder.problems += source.problems
    for name, table in source.tables().items():
        if name in folder._tables:
            folder.problems.append(f"{path.name} has the table {name!r} a second time; it was not read")
        else:
            folder._tables[name] = table
