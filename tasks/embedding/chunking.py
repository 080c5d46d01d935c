"""Materials cut into chunks: by structure first, within a number of tokens.

A heading begins a new chunk, unless what stands before it is a small section that the heading does not rank above.
Within a section as much as fits goes into a chunk, cut at the best place in its second half: between blocks, list
items, sentences, clauses, in this order. Formulas, code and tables that fit are kept whole. A chunk repeats the last
sentences of the one before it in its section.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile

from schemas.retrieval import ChunkLimits, ChunkPiece, MaterialFormat
from tasks.embedding.leaves import HEADING, Leaf, TokenCounter, split_leaves
from tasks.embedding.structure import Block, read_structure

CHUNKER = "structure-1"
"""Raised when the same material is cut otherwise."""

_Run = tuple[int, int]
"""The first leaf of a chunk, and the one after its last."""


def chunker_name(limits: ChunkLimits) -> str:
    """What chunks depend on besides their material, as it is kept with them."""
    return f"{CHUNKER}/{limits.tokens}/{limits.overlap}"


def chunk_text(
    content: str,
    *,
    format: MaterialFormat,
    limits: ChunkLimits,
    count: TokenCounter,
) -> list[ChunkPiece]:
    """The chunks of `content` in order; together they hold all of it but blanks.

    The same arguments give the same chunks. None is longer than `limits.tokens`, unless a single grapheme is.

    Args:
        count: says of several texts how many tokens each has.
    """
    structure = read_structure(content, format)
    leaves = split_leaves(content, structure, limits.tokens, count)
    paths = _heading_paths(structure.blocks)
    budget = limits.tokens
    while True:
        runs = list(_Packing(leaves, structure.blocks, limits, budget).runs())
        texts = [content[leaves[first].start : leaves[last - 1].end] for first, last in runs]
        tokens = count(texts)
        longest = max((size for run, size in zip(runs, tokens, strict=True) if run[1] - run[0] > 1), default=0)
        if longest <= limits.tokens:
            break
        budget -= longest - limits.tokens  # leaves together had more tokens than each by itself
    return [
        ChunkPiece(text, leaves[first].start, leaves[last - 1].end, _shared_path(leaves[first:last], paths), size)
        for (first, last), text, size in zip(runs, texts, tokens, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a block stands: its headings, and whether it is one itself."""

    path: tuple[str, ...]
    is_heading: bool


def _heading_paths(blocks: Sequence[Block]) -> list[_Place]:
    places, opened = [], list[tuple[int, str]]()
    for block in blocks:
        if block.kind == "heading":
            opened = [*takewhile(lambda heading, level=block.level: heading[0] < level, opened)]  # type: ignore[misc]
            opened.append((block.level, block.title))
        places.append(_Place(tuple(title for _, title in opened if title), block.kind == "heading"))
    return places


def _shared_path(leaves: Sequence[Leaf], places: Sequence[_Place]) -> tuple[str, ...]:
    """The deepest path of all text; of headings where there is no text."""
    found = [places[leaf.block] for leaf in leaves]
    paths = {place.path for place in found if not place.is_heading} or {found[-1].path}
    shared = takewhile(lambda names: len(set(names)) == 1, zip(*paths, strict=False))
    return tuple(names[0] for names in shared)


class _Packing:
    """Leaves gathered into chunks of at most `budget` tokens."""

    def __init__(self, leaves: Sequence[Leaf], blocks: Sequence[Block], limits: ChunkLimits, budget: int) -> None:
        self.leaves = leaves
        self.blocks = blocks
        self.limits = limits
        self.budget = budget
        self.before = [0, *accumulate(leaf.following for leaf in leaves)]

    def runs(self) -> Iterator[_Run]:
        """The chunks; each begins after the one before it does, and ends after it."""
        first = fresh = 0
        while fresh < len(self.leaves):
            end = self._end(first, fresh)
            yield first, end
            first, fresh = self._overlapping(first, end), end

    def _size(self, first: int, last: int) -> int:
        return self.before[last] - self._base(first)

    def _base(self, first: int) -> int:
        """What a chunk that begins at `first` does not hold."""
        return self.before[first + 1] - self.leaves[first].tokens

    def _begins_section(self, leaf: int) -> bool:
        return leaf == len(self.leaves) or self.leaves[leaf].strength == HEADING

    def _end(self, first: int, fresh: int) -> int:
        """Where the chunk that begins at `first`, and has something new from `fresh` on, ends."""
        end = fresh + 1
        while end < len(self.leaves) and self._size(first, end + 1) <= self.budget:
            if self._begins_section(end) and not self._joins(first, end):
                return end
            end += 1
        if self._begins_section(end):
            return end
        half = bisect_left(self.before, self._base(first) + self.budget / 2)
        places = range(max(fresh + 1, half), end + 1)
        return min(places, key=lambda place: (self._leaves_little(place), *self._worth(place)), default=end)

    def _worth(self, place: int) -> tuple[int, int]:
        return self.leaves[place].strength, -place

    def _leaves_little(self, place: int) -> bool:
        """True when a cut there would leave next to nothing for the rest of the section."""
        end = place
        while end < len(self.leaves) and not (end > place and self._begins_section(end)):
            end += 1
            if self._size(place, end) >= self.limits.small:
                return False
        return True

    def _joins(self, first: int, heading: int) -> bool:
        """True when what stands before the heading is a whole section, small, and not below the heading's rank."""
        if not (first == 0 or self._begins_section(first)) or self._size(first, heading) >= self.limits.small:
            return False
        return self.blocks[self.leaves[heading].block].level >= self.blocks[self.leaves[first].block].level

    def _overlapping(self, first: int, end: int) -> int:
        """Where the chunk after `end` begins, so that it repeats the last of this one."""
        begin = end
        while (
            begin - 1 > first
            and not self._begins_section(begin)
            and not self._begins_section(begin - 1)
            and self._size(begin - 1, end) <= self.limits.overlap
            and self._size(begin - 1, end + 1) <= self.budget
        ):
            begin -= 1
        return begin
