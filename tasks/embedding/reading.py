"""A file read as a material: its text, and what text and path say of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from blocks.documents import fetch_document, shown_path
from schemas.bills import Document
from schemas.canonical import postgres_text
from schemas.choices import MaterialType
from schemas.errors import BadInput
from schemas.materials import MaterialText
from schemas.retrieval import MaterialFormat
from tasks.embedding.front_matter import split_front_matter
from tasks.embedding.latex import latex_to_markdown
from tasks.embedding.material_paths import OTHERWISE, type_of, week_of
from tasks.embedding.structure import first_heading

EXTENSIONS = frozenset({".md", ".markdown", ".txt", ".text", ".html", ".htm", ".xhtml", ".pdf", ".tex", ".latex"})
"""Files of a folder that are read."""
TITLE_CHARACTERS = 200


async def read_material(
    file: Path, path: str, names: Sequence[str], material_type: MaterialType | None, week: int | None
) -> MaterialText:
    """`file` as a material that is known by `path`.

    Args:
        names: of the file and its folders, from the inside out.
        material_type, week: what the caller says; else front matter, then `names` do.

    Raises:
        BadInput: it cannot be read, or says nothing; the message is one sentence that names it.
    """
    document = await fetch_document(str(file), as_markdown=True)
    fields, content, kind = _parts(document)
    content = postgres_text(content).strip("\n")
    if not content.strip():
        raise BadInput(
            f"{shown_path(str(file))} holds no text besides its front matter; give a file that says something"
        )
    title = (
        _text(fields.get("title"))
        or first_heading(content, kind)
        or shown_path(names[0]).replace("_", " ").replace("-", " ")
    )
    return MaterialText(
        path=path,
        type=material_type or _type(fields) or type_of(names) or OTHERWISE,
        title=_line(title)[:TITLE_CHARACTERS].strip() or shown_path(file.name),
        week=next((each for each in (week, _week(fields), week_of(names)) if each is not None), None),
        keywords=_keywords(fields),
        content=content,
        format=kind,
    )


def _parts(document: Document) -> tuple[Mapping[str, Any], str, MaterialFormat]:
    """Front matter, content and its format."""
    if document.media_type == "text/x-tex":
        content, title = latex_to_markdown(document.text)
        return {"title": title}, content, "markdown"
    if document.media_type in {"text/plain", "text/markdown"}:
        fields, content = split_front_matter(document.text)
        return fields, content, "markdown" if document.media_type == "text/markdown" else "text"
    return {}, document.text, "markdown" if document.media_type == "text/html" else "text"


def _text(value: object) -> str:
    if isinstance(value, int) and abs(value) < 10**9:
        return str(value)
    return value.strip() if isinstance(value, str) else ""


def _line(value: str) -> str:
    """`value` as one line without control characters, which a terminal would obey."""
    return " ".join(postgres_text(_CONTROLS.sub("", " ".join(value.split()))).split())


def _type(fields: Mapping[str, Any]) -> MaterialType | None:
    return type_of([_text(fields.get("type"))])


def _week(fields: Mapping[str, Any]) -> int | None:
    return week_of([f"week {_text(fields.get('week'))}"])


def _keywords(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """From `keywords`, or else `tags`: a list, or a text with commas; each once."""
    value = fields.get("keywords") or fields.get("tags") or ()
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else ()
    words = (_line(_text(part)) for part in parts)
    return tuple(dict.fromkeys(word for word in words if word))


_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
