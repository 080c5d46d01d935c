"""Course materials as they are added, listed and taken out."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from schemas.choices import MaterialType
from schemas.retrieval import MaterialFormat


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class MaterialText(_Frozen):
    """A file as a material.

    Attributes:
        content: what it says, front matter left out; line ends are `\\n`.
        path: of the file, relative to the root where one was given.
    """

    path: str
    type: MaterialType
    title: str
    week: int | None
    keywords: tuple[str, ...]
    content: str
    format: MaterialFormat


class MaterialChange(_Frozen):
    """What became of one file."""

    id: str
    path: str
    type: MaterialType
    title: str
    week: int | None
    characters: int
    change: Literal["added", "updated", "unchanged"]


class UnreadMaterial(_Frozen):
    """A path that no material was made of, and why, in one sentence."""

    path: str
    reason: str


class AddedMaterials(_Frozen):
    """What `add_materials` did.

    Attributes:
        left_out: links in a folder that lead out of it, which are not followed.
    """

    course_id: str
    course_created: bool
    materials: tuple[MaterialChange, ...]
    unread: tuple[UnreadMaterial, ...]
    left_out: tuple[UnreadMaterial, ...] = ()

    def count(self, change: Literal["added", "updated", "unchanged"]) -> int:
        """How many materials were `change`d."""
        return sum(material.change == change for material in self.materials)


class ListedMaterial(_Frozen):
    """A material without its content; `path` where it was added from a file."""

    id: str
    course_id: str
    type: str
    title: str
    week: int | None
    keywords: tuple[str, ...]
    characters: int
    path: str | None


class RemovedMaterials(_Frozen):
    """What `remove_materials` did; `citations` lost the material that they named and kept its title."""

    removed: tuple[str, ...]
    citations: int
