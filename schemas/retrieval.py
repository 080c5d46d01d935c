"""What search and answers work on: materials cut into chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas.errors import BadInput

MaterialFormat = Literal["markdown", "latex", "text"]
"""How the content of a material shows its structure."""


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """How long a chunk may be.

    Attributes:
        tokens: of a chunk at most, as the caller counts them.
        overlap: tokens at most that a chunk repeats of the one before it, within one section.

    Raises:
        BadInput: the overlap would leave less than half of a chunk for what is new.
    """

    tokens: int = 200
    overlap: int = 24

    def __post_init__(self) -> None:
        if self.tokens < 1 or not 0 <= self.overlap <= self.tokens // 2:
            raise BadInput(
                f"chunks of {self.tokens} tokens cannot overlap by {self.overlap}: "
                "give at least 1 token, and an overlap from 0 to half of that"
            )

    @property
    def small(self) -> int:
        """A section below so many tokens is joined with the next one."""
        return self.tokens // 4


@dataclass(frozen=True, slots=True)
class ChunkPiece:
    """A stretch of a material.

    Attributes:
        content: `material[start:end]`, neither beginning nor ending with a blank.
        start, end: characters of the material.
        heading_path: headings that its text stands under, outermost first; the deepest that all of it shares.
        tokens: of `content`, as the caller counts them.
    """

    content: str
    start: int
    end: int
    heading_path: tuple[str, ...]
    tokens: int
