"""How a chunk becomes the text that is embedded; named and versioned, since another text is another vector."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from schemas.embedding import TemplateName


@dataclass(frozen=True)
class Template:
    """One such way.

    Attributes:
        uses_title: a new title is a new text; without, it changes nothing.
        render: title, heading path and content to the text.
    """

    name: TemplateName
    uses_title: bool
    render: Callable[[str, Sequence[str], str], str]


def _with_headings(title: str, heading_path: Sequence[str], content: str) -> str:
    """Title, headings below it, an empty line, the content: what a chunk is about stands in few of its words."""
    below = [heading for heading in heading_path if heading != title]
    return "\n".join([title, *([" > ".join(below)] if below else []), "", content])


def _bare(_: str, __: Sequence[str], content: str) -> str:
    return content


TEMPLATES: dict[str, Template] = {
    "heading-1": Template("heading-1", True, _with_headings),
    "text-1": Template("text-1", False, _bare),
}


def text_hash(text: str) -> str:
    """SHA-256, in hexadecimal, by which a text that is embedded is known."""
    return hashlib.sha256(text.encode()).hexdigest()
