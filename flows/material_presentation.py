"""What `headrace materials …` shows."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel
from rich.markup import escape

from flows.presentation import console, table, write_json
from schemas.materials import AddedMaterials, ListedMaterial, MaterialChange, RemovedMaterials, UnreadMaterial

SHOWN = 50
"""Changed materials that a person is shown; a machine gets all."""
SHOWN_LINKS = 5
"""Links that a person is shown of those that were left out."""
COLUMNS = ("type", "week", "title", "characters", "id")


class _Added(AddedMaterials):
    run_id: None = None
    status: str


class _Listed(BaseModel):
    run_id: None = None
    status: str = "completed"
    materials: list[ListedMaterial]


class _Removed(RemovedMaterials):
    run_id: None = None
    status: str = "completed"


def show_added(added: AddedMaterials, *, as_json: bool) -> int:
    """What became of each file; the exit code is 1 when some could not be read, 2 when none could.

    A link that was left out is no failure.
    """
    if as_json:
        write_json(_Added(status="failed" if added.unread else "completed", **dict(added)))
        return _exit_code(added)
    out = console()
    changed = [material for material in added.materials if material.change != "unchanged"]
    if changed:
        rows = ((each.change, *_cells(each)) for each in changed[:SHOWN])
        out.print(table("", ("", *COLUMNS), rows))
        out.print(f"… and {len(changed) - SHOWN} more" if len(changed) > SHOWN else "")
    for unread in added.unread:
        out.print(f"• not read: {unread.reason}", soft_wrap=True, markup=False)
    if added.left_out:
        out.print(f"• {_left_out(added.left_out)}", soft_wrap=True, markup=False)
    counts = ", ".join(f"{added.count(change)} {change}" for change in ("added", "updated", "unchanged"))
    made = " (made)" if added.course_created else ""
    out.print(f"{added.course_id}{made}: {counts}, {len(added.unread)} not read", soft_wrap=True, markup=False)
    return _exit_code(added)


def _left_out(links: Sequence[UnreadMaterial]) -> str:
    named = ", ".join(link.path for link in links[:SHOWN_LINKS])
    more = f" and {len(links) - SHOWN_LINKS} more" if len(links) > SHOWN_LINKS else ""
    if len(links) == 1:
        return f"left out: 1 link, which leads out of the folder: {named}"
    return f"left out: {len(links)} links, which lead out of the folder: {named}{more}"


def _exit_code(added: AddedMaterials) -> int:
    if not added.materials and (added.unread or added.left_out):
        return 2
    return 1 if added.unread else 0


def show_materials(materials: Sequence[ListedMaterial], *, as_json: bool) -> int:
    """The materials, a line each."""
    if as_json:
        write_json(_Listed(materials=list(materials)))
        return 0
    out = console()
    if not materials:
        out.print("There are no materials. `headrace materials add COURSE PATH…` adds some.", markup=False)
        return 0
    rows = [
        (escape(each.course_id), each.type, each.week, escape(each.title), each.characters, each.id)
        for each in materials
    ]
    out.print(table("", ("course", "type", "week", "title", "characters", "id"), rows))
    return 0


def _cells(material: MaterialChange | ListedMaterial) -> tuple[object, ...]:
    return material.type, material.week, escape(material.title), material.characters, material.id


def show_removed(removed: RemovedMaterials, *, as_json: bool) -> int:
    """What was taken out."""
    if as_json:
        write_json(_Removed(**dict(removed)))
        return 0
    cited = f"; {removed.citations} citations keep only their title" if removed.citations else ""
    console().print(f"{len(removed.removed)} removed{cited}", markup=False)
    return 0
