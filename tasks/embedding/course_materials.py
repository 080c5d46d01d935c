"""Course materials: added from files, listed, taken out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, text

from blocks.database import database_errors
from blocks.documents import shown_path
from blocks.documents.folders import find_documents
from schemas.choices import MaterialType
from schemas.errors import BadInput, NotFound
from schemas.materials import (
    AddedMaterials,
    ListedMaterial,
    MaterialChange,
    MaterialText,
    RemovedMaterials,
    UnreadMaterial,
)
from tasks.embedding.material_paths import names_of
from tasks.embedding.reading import EXTENSIONS, read_material
from tasks.ledger.session import open_ledger

BATCH_CHARACTERS = 8_000_000
"""Of content that go to the database in one statement."""

_COURSE = text("""
    SELECT id FROM courses
    WHERE id = :course OR replace(lower(code), ' ', '') = replace(lower(:course), ' ', '')
    ORDER BY id = :course DESC, id
""")
_CREATE_COURSE = text("""
    INSERT INTO courses (id, code, name, created_at) VALUES (:course, :course, :course, clock_timestamp())
    ON CONFLICT (id) DO NOTHING
""")
_ADD = text("""
    INSERT INTO course_materials AS present
        (id, course_id, type, title, content, keywords, week, attributes, created_at, updated_at)
    SELECT id, :course, type, title, content, keywords, week, attributes, clock_timestamp(), clock_timestamp()
    FROM jsonb_to_recordset(CAST(:materials AS jsonb)) AS given
        (id text, type text, title text, content text, keywords text[], week int, attributes jsonb)
    ON CONFLICT (id) DO UPDATE SET
        type = excluded.type, title = excluded.title, content = excluded.content, keywords = excluded.keywords,
        week = excluded.week, attributes = excluded.attributes, updated_at = excluded.updated_at
    WHERE (present.type, present.title, present.content, present.keywords, present.week, present.attributes)
        IS DISTINCT FROM
        (excluded.type, excluded.title, excluded.content, excluded.keywords, excluded.week, excluded.attributes)
    RETURNING id, xmax = 0 AS is_new
""")
_LIST = text("""
    SELECT id, course_id, type, title, week, keywords, length(content) AS characters, attributes ->> 'path' AS path
    FROM course_materials WHERE course_id = :course OR CAST(:course AS text) IS NULL
    ORDER BY course_id, week NULLS LAST, title, id
""")
_PRESENT = text("SELECT id FROM course_materials WHERE id = ANY(:ids) FOR UPDATE")
_UNLINK = text("UPDATE citations SET material_id = NULL WHERE material_id = ANY(:ids)")
_REMOVE = text("DELETE FROM course_materials WHERE id = ANY(:ids)")


async def add_materials(
    course: str,
    paths: Iterable[str | Path],
    *,
    material_type: MaterialType | None = None,
    week: int | None = None,
    root: str | Path | None = None,
    create_course: bool = False,
) -> AddedMaterials:
    """The files at `paths` are materials of the course, as they are now.

    A file that was added before is updated where anything of it changed. What cannot be read is named in the result,
    and the rest goes on; so are links in a folder that lead out of it: what is not in it is not read.

    Args:
        course: id or code.
        paths: files, or folders whose text, Markdown, HTML, LaTeX and PDF files are read.
        material_type, week: of all of them; else front matter says it, else names of the file and its folders do.
        root: folder that the paths are kept relative to, so that a copy elsewhere is the same material; without it a
            material is known by the whole path.
        create_course: make the course when there is none of that name.

    Raises:
        NotFound: there is no such course.
        BadInput: several courses have this code, a file is not below `root`, or no path is given.
    """
    files, unread, left_out = _find(paths)
    known = {file: _known_path(file, root) for file in files}
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.begin() as connection:
                course_id, created = await connection.run_sync(_find_course, course, create_course)
        changes: list[MaterialChange] = []
        async for batch in _batches(files, known, material_type, week, unread):
            with database_errors():
                async with ledger.engine.begin() as connection:
                    changes += await connection.run_sync(_add, course_id, batch)
    return AddedMaterials(
        course_id=course_id,
        course_created=created,
        materials=tuple(changes),
        unread=tuple(unread),
        left_out=tuple(left_out),
    )


async def list_materials(course: str | None = None) -> list[ListedMaterial]:
    """The materials of a course, or of all, by week and title.

    Raises:
        NotFound: there is no such course.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.begin() as connection:
                return await connection.run_sync(_list, course)


async def remove_materials(ids: Sequence[str]) -> RemovedMaterials:
    """The materials are gone, with their chunks; answers that cite them keep the title and the quote.

    Raises:
        NotFound: there is no material of one of these ids; nothing is removed.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.begin() as connection:
                return await connection.run_sync(_remove, list(dict.fromkeys(ids)))


def material_id(course_id: str, path: str) -> str:
    """The id of the material that the file at `path` is to a course."""
    digest = hashlib.sha256(f"{course_id}\0{path}".encode()).hexdigest()
    return f"material-{digest[:16]}"


_Found = dict[Path, Sequence[str]]
"""Files by the names that say what they are."""


def _find(paths: Iterable[str | Path]) -> tuple[_Found, list[UnreadMaterial], list[UnreadMaterial]]:
    """Each file once, what is nothing to read, and links that are not followed."""
    found: _Found = {}
    unread: list[UnreadMaterial] = []
    left_out: dict[str, UnreadMaterial] = {}
    given = [Path(os.path.abspath(os.path.expanduser(path))) for path in paths]
    if not given:
        raise BadInput("name a file or a folder to add")
    for path in given:
        try:
            there = find_documents(path, EXTENSIONS)
        except BadInput as error:
            unread.append(UnreadMaterial(path=shown_path(str(path)), reason=str(error)))
            continue
        for file in there.files:
            found.setdefault(file, names_of(file, path))
        for link in map(shown_path, map(str, there.leading_out)):
            left_out[link] = UnreadMaterial(path=link, reason=f"{link} is a link that leads out of the folder")
    return found, unread, list(left_out.values())


def _known_path(file: Path, root: str | Path | None) -> str:
    if root is None:
        return shown_path(str(file))
    try:
        return shown_path(file.relative_to(os.path.abspath(os.path.expanduser(root))).as_posix())
    except ValueError:
        raise BadInput(f"{shown_path(str(file))} is not below {root}; name a root that it is below") from None


def _find_course(connection: Connection, course: str, create: bool) -> tuple[str, bool]:
    """The id of the course, and whether it was made for this."""
    found = list(connection.execute(_COURSE, {"course": course}).scalars())
    if found and (found[0] == course or len(found) == 1):
        return found[0], False
    if found:
        raise BadInput(f"the courses {', '.join(found)} all have the code {course}; give an id")
    if not create or not course.strip():
        raise NotFound(f"there is no course {course!r}; --create-course makes it", course=course)
    connection.execute(_CREATE_COURSE, {"course": course})
    return course, True


async def _batches(
    files: _Found,
    known: dict[Path, str],
    material_type: MaterialType | None,
    week: int | None,
    unread: list[UnreadMaterial],
) -> AsyncIterator[list[MaterialText]]:
    """The files as materials, some at a time; what cannot be read is added to `unread`."""
    batch: list[MaterialText] = []
    for file, names in files.items():
        try:
            batch.append(await read_material(file, known[file], names, material_type, week))
        except BadInput as error:
            unread.append(UnreadMaterial(path=shown_path(str(file)), reason=str(error)))
        if sum(len(material.content) for material in batch) >= BATCH_CHARACTERS:
            yield batch
            batch = []
    if batch:
        yield batch


def _add(connection: Connection, course_id: str, materials: Sequence[MaterialText]) -> list[MaterialChange]:
    ids = [material_id(course_id, material.path) for material in materials]
    rows = orjson.dumps([_row(each, material) for each, material in zip(ids, materials, strict=True)]).decode()
    changed = {row.id: row.is_new for row in connection.execute(_ADD, {"course": course_id, "materials": rows})}
    return list(_changes(ids, materials, changed))


def _changes(
    ids: Sequence[str], materials: Sequence[MaterialText], changed: dict[str, bool]
) -> Iterator[MaterialChange]:
    for each, material in zip(ids, materials, strict=True):
        yield MaterialChange(
            id=each,
            path=material.path,
            type=material.type,
            title=material.title,
            week=material.week,
            characters=len(material.content),
            change="unchanged" if each not in changed else "added" if changed[each] else "updated",
        )


def _row(each: str, material: MaterialText) -> dict[str, Any]:
    columns = material.model_dump(include={"type", "title", "content", "keywords", "week"})
    return {"id": each, **columns, "attributes": {"path": material.path, "format": material.format}}


def _list(connection: Connection, course: str | None) -> list[ListedMaterial]:
    course_id = None if course is None else _find_course(connection, course, create=False)[0]
    rows = connection.execute(_LIST, {"course": course_id}).mappings()
    return [ListedMaterial.model_validate(dict(row)) for row in rows]


def _remove(connection: Connection, ids: list[str]) -> RemovedMaterials:
    present = set(connection.execute(_PRESENT, {"ids": ids}).scalars())
    if missing := [each for each in ids if each not in present]:
        raise NotFound(f"there is no material {', '.join(missing)}; `headrace materials list` names those there are")
    unlinked = connection.execute(_UNLINK, {"ids": ids})
    connection.execute(_REMOVE, {"ids": ids})
    return RemovedMaterials(removed=tuple(ids), citations=unlinked.rowcount)
