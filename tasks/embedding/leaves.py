"""The smallest stretches that chunks are made of: sentences, whole formulas, code and tables, or less where need be.

What is larger than a chunk may be is cut further, at the first of these that helps: lines of code and rows of tables,
or sentences; clauses; spaces; and at last between graphemes (UAX #29, by the package `regex`), never inside one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import regex  # type: ignore[import-untyped]

from tasks.embedding.formulas import Protected, Span, blanked, formula_spans, outermost
from tasks.embedding.structure import Structure

TokenCounter = Callable[[Sequence[str]], Sequence[int]]
"""Tokens of each of some texts."""

HEADING, BLOCK, ITEM, SENTENCE, CLAUSE, ANYWHERE, AFTER_HEADING = range(7)
"""What begins where a leaf begins: the lower, the better a place to cut."""

PLAINLY_LONG = 64
"""A text of more characters than this times the tokens allowed is cut without being counted."""

FEW_BLANKS = 2
"""An empty line between two paragraphs."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """Characters `start` to `end`, without blanks around them.

    Attributes:
        block: its place among the structure's blocks.
        tokens: of it by itself.
        following: tokens that it adds to the leaf before it, with the blanks between them where they are many.
    """

    start: int
    end: int
    strength: int
    block: int
    tokens: int = 0
    following: int = 0


def split_leaves(content: str, structure: Structure, tokens: int, count: TokenCounter) -> list[Leaf]:
    """All of `content` but blanks as leaves in order, none longer than `tokens` unless it is a single grapheme."""
    cutter = _Cutter(content, structure, tokens, count)
    leaves: list[Leaf] = []
    pending = list(cutter.begin())
    for step in cutter.steps():
        fitting, long = cutter.weigh(pending)
        leaves += fitting
        pending = [part for leaf in long for part in step(leaf)]
        if not pending:
            break
    leaves += cutter.counted(pending)
    return cutter.joined(sorted(leaves, key=lambda leaf: leaf.start))


class _Cutter:
    def __init__(self, content: str, structure: Structure, tokens: int, count: TokenCounter) -> None:
        self.content = content
        self.structure = structure
        self.tokens = tokens
        self.count = count
        self.inside_graphemes = _inside_graphemes(content)
        self.protected = Protected(self._whole())

    def _whole(self) -> list[Span]:
        """Formulas, environments and code that fit; of those inside one another, the largest."""
        code = self.structure.code
        found = {self._of_graphemes(*span) for span in (*formula_spans(blanked(self.content, code)), *code)}
        spans = sorted(found, key=lambda span: (span[0], -span[1]))
        near = [span for span in spans if not self._plainly_long(*span)]
        counts = self.count([self.content[start:end] for start, end in near])
        return outermost([span for span, tokens in zip(near, counts, strict=True) if tokens <= self.tokens])

    def begin(self) -> Iterator[Leaf]:
        """Tables and code whole, all other blocks as sentences."""
        blocks = self.structure.blocks
        places = [number for number, block in enumerate(blocks) if block.start == 0 or self._may_cut(block.start)]
        for number, following in zip(places, [*places[1:], None], strict=True):
            start = blocks[number].start
            end = len(self.content) if following is None else blocks[following].start
            whole = Leaf(start, end, self._strength(number), number)
            if blocks[number].kind == "rows":
                yield from self._trimmed(whole)
            else:
                yield from self._cut(whole, self._sentence_ends(start, end), SENTENCE)

    def _strength(self, number: int) -> int:
        block = self.structure.blocks[number]
        if block.kind == "heading":
            return HEADING
        if number and self.structure.blocks[number - 1].kind == "heading":
            return AFTER_HEADING
        announced = self.content[max(0, block.start - 12) : block.start].rstrip().endswith((":", "："))
        return CLAUSE if announced else _STRENGTH[block.kind]

    def steps(self) -> Iterator[Callable[[Leaf], Iterator[Leaf]]]:
        """Ever finer ways to cut."""
        yield lambda leaf: self._matches(leaf, _LINES, SENTENCE) if self._is_rows(leaf) else self.clauses(leaf)
        yield self.clauses
        width = 2 * self.tokens
        while width > 1:
            width //= 2
            yield partial(self.wrapped, width=width)

    def clauses(self, leaf: Leaf) -> Iterator[Leaf]:
        return self._matches(leaf, _CLAUSES, CLAUSE)

    def wrapped(self, leaf: Leaf, *, width: int) -> Iterator[Leaf]:
        """Stretches of about `width` characters, cut at spaces where there are any."""
        return self._cut(leaf, self._wraps(leaf.start, leaf.end, width), ANYWHERE)

    def weigh(self, leaves: Sequence[Leaf]) -> tuple[list[Leaf], list[Leaf]]:
        """Those that fit, and those that do not."""
        long = [leaf for leaf in leaves if self._plainly_long(leaf.start, leaf.end)]
        counted = self.counted([leaf for leaf in leaves if not self._plainly_long(leaf.start, leaf.end)])
        long += [leaf for leaf in counted if leaf.tokens > self.tokens]
        return [leaf for leaf in counted if leaf.tokens <= self.tokens], long

    def counted(self, leaves: Sequence[Leaf]) -> list[Leaf]:
        """`leaves` with their tokens."""
        counts = self.count([self.content[leaf.start : leaf.end] for leaf in leaves])
        return [
            Leaf(leaf.start, leaf.end, leaf.strength, leaf.block, tokens, tokens)
            for leaf, tokens in zip(leaves, counts, strict=True)
        ]

    def joined(self, leaves: list[Leaf]) -> list[Leaf]:
        """`leaves` with what they add to one another: a page of blanks is no small thing to every tokenizer."""
        apart = [place for place in range(1, len(leaves)) if leaves[place].start - leaves[place - 1].end > FEW_BLANKS]
        counts = self.count([self.content[leaves[place - 1].end : leaves[place].end] for place in apart])
        for place, tokens in zip(apart, counts, strict=True):
            leaves[place] = replace(leaves[place], following=max(tokens, leaves[place].tokens))
        return leaves

    def _is_rows(self, leaf: Leaf) -> bool:
        return self.structure.blocks[leaf.block].kind == "rows"

    def _plainly_long(self, start: int, end: int) -> bool:
        return end - start > PLAINLY_LONG * self.tokens

    def _matches(self, leaf: Leaf, pattern: re.Pattern[str], strength: int) -> Iterator[Leaf]:
        ends = (match.end() for match in pattern.finditer(self.content, leaf.start, leaf.end))
        return self._cut(leaf, ends, strength)

    def _cut(self, leaf: Leaf, places: Iterable[int], strength: int) -> Iterator[Leaf]:
        """`leaf` cut at those of `places` where it may be; what begins there has `strength`."""
        start, first = leaf.start, leaf.strength
        for place in places:
            if start < place < leaf.end and self._may_cut(place):
                yield from self._trimmed(Leaf(start, place, first, leaf.block))
                start, first = place, strength
        yield from self._trimmed(Leaf(start, leaf.end, first, leaf.block))

    def _may_cut(self, place: int) -> bool:
        return place not in self.inside_graphemes and self.protected.around(place) is None

    def _trimmed(self, leaf: Leaf) -> Iterator[Leaf]:
        """`leaf` without blanks around it, or nothing where it is all blank; a blank with an accent is none."""
        text = self.content[leaf.start : leaf.end]
        end = leaf.start + len(text.rstrip())
        start = leaf.end - len(text.lstrip())
        if start >= end:
            return
        yield Leaf(*self._of_graphemes(start, end), leaf.strength, leaf.block)

    def _of_graphemes(self, start: int, end: int) -> Span:
        """The span with all of the graphemes at its ends."""
        while start in self.inside_graphemes:
            start -= 1
        while end in self.inside_graphemes:
            end += 1
        return start, end

    def _sentence_ends(self, start: int, end: int) -> Iterator[int]:
        for match in _SENTENCE_ENDS.finditer(self.content, start, end):
            if match["dot"] is None or not _NO_END.search(self.content, max(start, match.start() - 12), match.start()):
                yield match.end()

    def _wraps(self, start: int, end: int, width: int) -> Iterator[int]:
        while end - start > width:
            near = range(start + width, start, -1)
            spaced = (place for place in near if self.content[place - 1].isspace() and self._may_cut(place))
            nearest = (place for place in near if self._may_cut(place))
            beyond = (place for place in range(start + width + 1, end) if self._may_cut(place))
            cut = next(chain(spaced, nearest, beyond), None)
            if cut is None:
                return
            yield cut
            start = cut


def _inside_graphemes(content: str) -> set[int]:
    """Where a cut would part a grapheme: a letter from its accents, a syllable, a flag, a line feed from its return."""
    if content.isascii() and "\r" not in content:
        return set()
    clusters = (match.span() for match in _CLUSTER.finditer(content))
    return {place for start, end in clusters for place in range(start + 1, end)}


_STRENGTH = {"prose": BLOCK, "rows": BLOCK, "item": ITEM}
_CLUSTER = regex.compile(r"(?=.[^\x20-\x7e\n]|[^\x20-\x7e\n])\X", regex.DOTALL)
"""What may be more than one character: printable ASCII before printable ASCII is passed over."""
_CLOSERS = r"[\"'”’»)\]}*_]{0,8}"
_SENTENCE_ENDS = re.compile(
    rf"(?P<dot>\.){_CLOSERS}\s+|[.!?…‽]{{1,8}}{_CLOSERS}\s+|[。．！？｡][”’」』）】]{{0,8}}|[؟۔।॥።]{_CLOSERS}\s*"
)
_NO_END = re.compile(
    r"(?:^|[\s(])(?:[A-Z]|\d{1,3}|e\.g|i\.e|cf|vs|etc|resp|approx|Fig|Figs|Eq|Eqs|Sec|Ch|No|Thm|Def|Dr|Mr|Mrs|Ms|Prof|St|al)$"
)
_LINES = re.compile(r"\r\n|\r|\n")
_CLAUSES = re.compile(r"[,;:—–][\"'”’)\]]{0,8}\s+|[，；、：،؛]\s*|(?:\r\n|\r|\n)")
