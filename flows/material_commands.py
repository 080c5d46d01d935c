"""`headrace materials …`: what courses are taught from."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from flows.command_options import Json
from schemas.choices import MaterialType

materials = App(name="materials", help="Course materials: what search and answers work on.")

Week = Annotated[int | None, Parameter(validator=Number(gte=0, lte=99))]
Change = Literal["added", "updated", "unchanged"]


@materials.command
def add(
    course: str,
    *paths: str,
    type: MaterialType | None = None,
    week: Week = None,
    root: str = "",
    create_course: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> int:
    """Add files, or update those that were added before: text, Markdown, HTML, LaTeX, PDF, or folders of these.

    Parameters
    ----------
    course
        Id or code of the course.
    paths
        Files and folders.
    type
        Of all of them; else front matter says it, or a word of the path (lecture-3, hw2), else it is a reading.
    week
        Of all of them; else front matter says it, or the path (week-3, wk03).
    root
        Keep paths relative to this folder, so that a copy of it elsewhere updates the same materials.
    create_course
        Make the course when there is none.
    """
    from flows.material_presentation import show_added
    from tasks.embedding.course_materials import add_materials

    work = add_materials(course, paths, material_type=type, week=week, root=root or None, create_course=create_course)
    return show_added(asyncio.run(work), as_json=json)


@materials.command(name="list")
def list_(course: str = "", *, json: Json = False) -> int:
    """List the materials of a course, or of all.

    Parameters
    ----------
    course
        Id or code of the course.
    """
    from flows.material_presentation import show_materials
    from tasks.embedding.course_materials import list_materials

    return show_materials(asyncio.run(list_materials(course or None)), as_json=json)


@materials.command
def remove(id: str, *more: str, json: Json = False) -> int:
    """Take materials out, with their chunks; answers that cite them keep the quote.

    Parameters
    ----------
    id
        Of the material, as `list` shows it.
    more
        Ids of others.
    """
    from flows.material_presentation import show_removed
    from tasks.embedding.course_materials import remove_materials

    return show_removed(asyncio.run(remove_materials([id, *more])), as_json=json)
