"""The structure of a material: headings, and blocks such as paragraphs, list items, tables and code.

Markdown is read by markdown-it-py, as CommonMark with tables. In LaTeX, sectioning commands are headings and blank
lines separate blocks; in plain text only blank lines and page breaks mean something.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

from schemas.retrieval import MaterialFormat
from tasks.embedding.formulas import Protected, Span, environment_spans, outermost

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

BlockKind = Literal["heading", "prose", "item", "rows"]
"""`item` is one of a list; `rows` are kept whole, or else cut between lines: code, tables, HTML."""

HEADING_CHARACTERS = 200
VERBATIM = frozenset({"verbatim", "Verbatim", "lstlisting", "minted"})
"""LaTeX's environments of code."""


@dataclass(frozen=True, slots=True)
class Block:
    """From `start` to the start of the next block; of a heading also its `level` from 1 and `title`."""

    start: int
    kind: BlockKind
    level: int = 0
    title: str = ""


@dataclass(frozen=True, slots=True)
class Structure:
    """Blocks by their start, the first at 0, and the spans of code, in which nothing is a formula."""

    blocks: list[Block]
    code: list[Span]


def read_structure(content: str, material_format: MaterialFormat) -> Structure:
    """The structure of `content`; together the blocks are all of it."""
    if material_format == "markdown":
        structure = _markdown(content)
    elif material_format == "latex":
        structure = _latex(content)
    else:
        structure = Structure(list(_paragraphs(content)), [])
    ranked = sorted(structure.blocks, key=lambda block: _RANK[block.kind], reverse=True)
    by_start = {block.start: block for block in ranked if block.start < len(content)}
    blocks = [by_start[start] for start in sorted(by_start)]
    if not blocks or blocks[0].start > 0:
        blocks.insert(0, Block(0, "prose"))
    return Structure(blocks, sorted(structure.code))


def material_format(content: str, stated: object = None) -> MaterialFormat:
    """The format of a material: as `stated` when it was read, else LaTeX where that shows, else Markdown."""
    for known in get_args(MaterialFormat):
        if stated == known:
            found: MaterialFormat = known
            return found
    commands = len(_TEXT_COMMAND.findall(content, 0, 50_000))
    marks = len(_MARKDOWN_MARK.findall(content, 0, 50_000))
    return "latex" if commands > marks else "markdown"


def first_heading(content: str, material_format: MaterialFormat) -> str | None:
    """The title of the first heading that has one."""
    blocks = read_structure(content, material_format).blocks
    return next((block.title for block in blocks if block.kind == "heading" and block.title), None)


def _markdown(content: str) -> Structure:
    lines = [0, *(match.end() for match in _LINE_END.finditer(content)), len(content)]
    blocks, code = [], []
    anchored = {match.end(): match.start() for match in _ANCHORS.finditer(content)}
    tokens = _parser().parse(content)
    for token, following in pairwise([*tokens, None]):
        kind = _MARKDOWN_KINDS.get(token.type) if token is not None else None
        if token is None or kind is None or token.map is None:
            continue
        start, end = (lines[min(line, len(lines) - 1)] for line in token.map)
        if token.type == "fence":  # what is merely indented may be a note with formulas, as MkDocs writes them
            code.append((start, end))
        level = int(token.tag[1:]) if kind == "heading" else 0
        title = _title(following.content) if kind == "heading" and following is not None else ""
        if title.count("$$") % 2:  # an equals sign on a line of its own in a formula, not under a heading
            kind, level, title = "prose", 0, ""
        blocks.append(Block(anchored.get(start, start), kind, level, title))
        if kind in {"heading", "rows"}:
            blocks.append(Block(end, "prose"))  # unless another begins there
    code += [match.span() for match in _CODE_SPAN.finditer(content)]
    return Structure(blocks, code)


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])  # words in a line are not looked at
    return parser


def _title(source: str) -> str:
    """A heading as text: one line, without the marks around it."""
    plain = _HEADING_NOISE.sub("", " ".join(source.split()))
    return plain.strip()[:HEADING_CHARACTERS]


def _latex(content: str) -> Structure:
    code = outermost(sorted(environment_spans(content, VERBATIM)))
    blocks = [Block(start, "rows") for start, _ in code] + [Block(end, "prose") for _, end in code]
    for match in _SECTIONING.finditer(content):
        end = _closing_brace(content, match.end())
        title = _title(content[match.end() : end])
        blocks.append(Block(match.start(), "heading", _LEVELS[match["name"]], title))
        blocks.append(Block(min(end + 1, len(content)), "prose"))
    blocks += [Block(match.start(), "item") for match in _ITEM.finditer(content)]
    blocks += _paragraphs(content)
    whole = Protected(code)
    blocks = [block for block in blocks if whole.around(block.start) is None]
    return Structure(blocks, code)


def _closing_brace(content: str, start: int) -> int:
    """Where the group that was opened before `start` ends; the end of the line when it is left open."""
    depth = 1
    for match in _BRACE.finditer(content, start, start + 2_000):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    line_end = content.find("\n", start)
    return len(content) if line_end < 0 else line_end


def _paragraphs(content: str) -> Iterator[Block]:
    for match in _BLANK_LINES.finditer(content):
        yield Block(match.end(), "prose")


_MARKDOWN_KINDS: dict[Any, BlockKind] = {
    "heading_open": "heading",
    "paragraph_open": "prose",
    "list_item_open": "item",
    "table_open": "rows",
    "fence": "rows",
    "code_block": "rows",
    "html_block": "rows",
}
_RANK = {"heading": 0, "rows": 1, "item": 2, "prose": 3}
_LEVELS = {
    "part": 1, "chapter": 2, "section": 3, "subsection": 4, "subsubsection": 5, "paragraph": 6, "subparagraph": 7
}  # fmt: skip
_LINE_END = re.compile(r"\r\n|\r|\n")
_BLANK_LINES = re.compile(r"(?:\r\n|\r|\n)[ \t]*(?:(?:\r\n|\r|\n|\f)[ \t]*)+")
_ANCHORS = re.compile(r"^(?:<a\s[^<>\n]{1,200}>[ \t]*</a>\s{0,20}){1,5}(?=#)", re.MULTILINE)
"""What a heading is linked to by, right before it."""
_CODE_SPAN = re.compile(r"(?<!`)(`{1,3})(?!`)[^`\n]{1,1000}(?<!`)\1(?!`)")
_HEADING_NOISE = re.compile(
    r"\s\{[:#.]?[^{}$]*\}\s*$|</?[A-Za-z][^<>]{0,200}>|(?<!\\)(?:\*{1,3}|`)"
    r"|\\(?:label|index|secl?abel|chaplabel)\{[^{}]*\}"
)
_SECTIONING = re.compile(
    r"^[ \t]*\\(?P<name>part|chapter|section|subsection|subsubsection|paragraph|subparagraph)\*?(?:\[[^\]\n]*\])?\{",
    re.MULTILINE,
)
_ITEM = re.compile(r"^[ \t]*\\item\b", re.MULTILINE)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_TEXT_COMMAND = re.compile(
    r"^[ \t]*\\(?:part|chapter|(?:sub){0,2}section|item|label|begin\{(?:document|itemize|enumerate|description)\})",
    re.MULTILINE,
)
_MARKDOWN_MARK = re.compile(r"^(?:#{1,6} |```|[-*] |\d+\. )|\*\*\S|\]\(", re.MULTILINE)
