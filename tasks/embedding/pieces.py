"""What a refresh wants of a chunker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


class Piece(Protocol):
    """A stretch of a material: `content` is `material[start:end]`."""

    @property
    def content(self) -> str:
        """The text."""
        ...

    @property
    def start(self) -> int:
        """First character."""
        ...

    @property
    def end(self) -> int:
        """Character after the last."""
        ...

    @property
    def heading_path(self) -> tuple[str, ...]:
        """Headings that it stands under, outermost first."""
        ...

    @property
    def tokens(self) -> int:
        """Of the text, as the chunker counts."""
        ...


@dataclass(frozen=True)
class Chunker:
    """A way of cutting materials.

    Attributes:
        name: with version and numbers, since other numbers make other chunks: `structure-1/256/32`.
        split: content and its format (of a material's attributes; None where it does not say) to pieces in order.
    """

    name: str
    split: Callable[[str, str | None], Sequence[Piece]]
