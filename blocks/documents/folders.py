"""The documents in a folder."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from blocks.documents.fetching import shown_path
from schemas.errors import BadInput


@dataclass(frozen=True)
class FoundDocuments:
    """What is to be read, and the links that are not followed, as they lead out of the folder that was given."""

    files: list[Path]
    leading_out: list[Path]


def find_documents(path: Path, extensions: Collection[str]) -> FoundDocuments:
    """`path` itself when it is no folder, else the files in and below it with one of `extensions`, by name.

    Hidden files and folders are passed over. Links to files in the folder are read; links to folders in it are not
    followed, as those are walked anyway.

    Raises:
        BadInput: there is no such file in it, it may not be read, or it is neither file nor folder.
    """
    shown = shown_path(str(path))
    if not os.path.isdir(path):
        if os.path.exists(path) and not os.path.isfile(path):
            raise BadInput(f"{shown} is neither a file nor a folder; give one of these")
        return FoundDocuments([path], [])
    inside, leading_out = _apart(path, extensions)
    # A link that leads nowhere is kept, so that reading it says so; a pipe is not, as reading it would wait.
    readable = [file for file in inside if os.path.isfile(file) or not os.path.exists(file)]
    if not readable and not leading_out:
        raise BadInput(f"{shown} has no file to read; give a folder with {', '.join(sorted(extensions))}")
    return FoundDocuments(sorted(readable), sorted(leading_out))


def _apart(path: Path, extensions: Collection[str]) -> tuple[list[Path], list[Path]]:
    """The files with one of `extensions` that are in `path`, and links that look like such or like folders and are not.

    What a link leads to is where it ends, over however many others; one that leads to itself ends where it stands.
    """
    inside: list[Path] = []
    leading_out: list[Path] = []
    within = Path(os.path.realpath(path))
    for found, is_folder in _walk(path):
        if not is_folder and found.suffix.lower() not in extensions:
            continue
        if os.path.islink(found) and not Path(os.path.realpath(found)).is_relative_to(within):
            leading_out.append(found)
        elif not is_folder:
            inside.append(found)
    return inside, leading_out


def _walk(path: Path) -> Iterator[tuple[Path, bool]]:
    """What is in and below `path` and not hidden; True for folders, of which links are not followed."""
    try:
        os.scandir(path).close()
    except OSError as error:
        raise BadInput(f"{shown_path(str(path))} cannot be read ({error.strerror}); change its permissions") from None
    for folder, inner, names in os.walk(path):
        inner[:] = [name for name in inner if not name.startswith(".")]
        yield from ((Path(folder, name), True) for name in inner)
        yield from ((Path(folder, name), False) for name in names if not name.startswith("."))
