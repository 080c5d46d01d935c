"""The documents in a folder."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from blocks.documents.fetching import shown_path
from schemas.errors import BadInput


def find_documents(path: Path, extensions: Collection[str]) -> list[Path]:
    """`path` itself when it is no folder, else the files in and below it with one of `extensions`, by name.

    Hidden files and folders are passed over, and links to folders, which may lead back.

    Raises:
        BadInput: there is no such file in it, it may not be read, or it is neither file nor folder.
    """
    shown = shown_path(str(path))
    if not os.path.isdir(path):
        if os.path.exists(path) and not os.path.isfile(path):
            raise BadInput(f"{shown} is neither a file nor a folder; give one of these")
        return [path]
    found = [
        Path(folder, name)
        for folder, names in _walk(path)
        for name in names
        if not name.startswith(".") and Path(name).suffix.lower() in extensions
    ]
    # A link that leads nowhere is kept, so that reading it says so; a pipe is not, as reading it would wait.
    readable = [file for file in found if os.path.isfile(file) or not os.path.exists(file)]
    if not readable:
        raise BadInput(f"{shown} has no file to read; give a folder with {', '.join(sorted(extensions))}")
    return sorted(readable)


def _walk(path: Path) -> list[tuple[str, list[str]]]:
    try:
        os.scandir(path).close()
    except OSError as error:
        raise BadInput(f"{shown_path(str(path))} cannot be read ({error.strerror}); change its permissions") from None
    walked = []
    for folder, inner, names in os.walk(path):
        inner[:] = [name for name in inner if not name.startswith(".")]
        walked.append((folder, names))
    return walked
