"""Where formulas and environments stand in Markdown and LaTeX."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Sequence

Span = tuple[int, int]

LONGEST_INLINE = 2_000
"""Characters of a formula in a line; two dollar signs further apart are money."""
_LONG = 4 * LONGEST_INLINE
_NO_BLANK_LINE = r"(?!\n[ \t]*\n)"


def blanked(content: str, spans: Iterable[Span]) -> str:
    """`content` with spaces in place of `spans`, so that what is in code is no formula; its length stays."""
    parts, position = [], 0
    for start, end in spans:
        if start < position:
            continue
        parts += [content[position:start], " " * (end - start)]
        position = end
    return "".join([*parts, content[position:]])


def formula_spans(content: str) -> list[Span]:
    r"""`$…$`, `$$…$$`, `\(…\)`, `\[…\]` and `\begin{x}…\end{x}`, the nested ones too, by their start.

    A dollar sign opens a formula as in Pandoc: no blank follows it, none precedes the closing one, which no digit
    follows, and no blank line is between them.
    """
    return sorted({*_delimited(content), *environment_spans(content)}, key=lambda span: (span[0], -span[1]))


def _delimited(content: str) -> Iterator[Span]:
    for match in _DELIMITED.finditer(content):
        if match.lastgroup is not None:
            yield match.span()


def environment_spans(content: str, names: Container[str] | None = None) -> Iterator[Span]:
    r"""Each `\begin` with the `\end` of its name, of all `names`; what is left open or closed twice is none."""
    opened: dict[str, list[int]] = {}
    for match in _ENVIRONMENT.finditer(content):
        if names is not None and match["name"].rstrip("*") not in names:
            continue
        stack = opened.setdefault(match["name"], [])
        if match["what"] == "begin":
            stack.append(match.start())
        elif stack:
            yield stack.pop(), match.end()


def outermost(spans: Sequence[Span]) -> list[Span]:
    """Those of `spans` (sorted by start, the longer first) that overlap none before them."""
    kept: list[Span] = []
    for span in spans:
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept


class Protected:
    """Spans, disjoint and in order, that must not be cut."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self._ends = [end for _, end in spans]

    def around(self, position: int) -> Span | None:
        """The span that a cut at `position` would be inside of."""
        place = bisect_left(self._ends, position + 1)
        if place < len(self._spans) and self._spans[place][0] < position:
            return self._spans[place]
        return None


# What is escaped is passed over, so that `\$` and `\\[2pt]` open nothing. No alternative runs past the next sign that
# opens one: a text full of lone signs must not cost its square.
_DELIMITED = re.compile(
    rf"""
    \\[\\$]
    | (?P<display> \$\$ (?: {_NO_BLANK_LINE} (?: \\. | [^$\\] | \$(?!\$) ) ){{1,{_LONG}}}? \$\$ )
    | (?P<bracket> \\\[ (?: {_NO_BLANK_LINE} (?: \\[^\[\]] | [^\\] ) ){{1,{_LONG}}}? \\\] )
    | (?P<round> \\\( (?: {_NO_BLANK_LINE} (?: \\[^()] | [^\\] ) ){{1,{LONGEST_INLINE}}}? \\\) )
    | (?P<inline> \$ (?![\s$]) (?: {_NO_BLANK_LINE} (?: \\. | [^$\\] ) ){{1,{LONGEST_INLINE}}}? (?<!\s)\$ (?!\d) )
    """,
    re.VERBOSE | re.DOTALL,
)
_ENVIRONMENT = re.compile(r"\\(?P<what>begin|end)[ \t]*\{(?P<name>[A-Za-z]{1,40}\*?)\}")
