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
        head: title and heading path to what stands before the content.
    """

    name: TemplateName
    uses_title: bool
    head: Callable[[str, Sequence[str]], str]

    def render(self, title: str, heading_path: Sequence[str], content: str) -> str:
        """The text that is embedded."""
        return self.head(title, heading_path) + content

    def hash(self, title: str, heading_path: Sequence[str], content: str) -> str:
        """`text_hash` of the text that is embedded, without making it."""
        digest = hashlib.sha256(self.head(title, heading_path).encode())
        digest.update(content.encode())
        return digest.hexdigest()


def _headings(title: str, heading_path: Sequence[str]) -> str:
    """Title, headings below it, an empty line: what a chunk is about stands in few of its words."""
    below = [heading for heading in heading_path if heading != title]
    return f"{title}\n{' > '.join(below)}\n\n" if below else f"{title}\n\n"


def _nothing(_: str, __: Sequence[str]) -> str:
    return ""


TEMPLATES: dict[str, Template] = {
    "heading-1": Template("heading-1", True, _headings),
    "text-1": Template("text-1", False, _nothing),
}


def text_hash(text: str) -> str:
    """SHA-256, in hexadecimal, by which a text that is embedded is known."""
    return hashlib.sha256(text.encode()).hexdigest()
