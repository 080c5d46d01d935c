r"""LaTeX as Markdown that people and models read: what is formula or code stays as it stands.

Comments and all before `\begin{document}` go; `\section` and its kind become headings, the environments of lists
list items, verbatim ones code; commands about looks leave their text. What is not known here stays as it is written:
no command is expanded.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from tasks.embedding.formulas import Span, blanked, environment_spans, formula_spans, outermost
from tasks.embedding.structure import VERBATIM

DEEPEST = 6
"""Level of a heading in Markdown."""
ROUNDS = 4
"""How deep commands inside commands are looked at."""
_KEPT = """
equation align alignat flalign gather multline eqnarray displaymath math array matrix pmatrix bmatrix cases
tabular tabularx longtable tikzpicture algorithm algorithmic
"""
KEPT = frozenset(_KEPT.split())
"""Environments that stay as they are: formulas, tables, drawings."""
_LEVELS = ("part", "chapter", "section", "subsection", "subsubsection", "paragraph", "subparagraph")


def latex_to_markdown(source: str) -> tuple[str, str | None]:
    """The document as Markdown, and its `\\title`."""
    code = outermost(sorted(environment_spans(source, VERBATIM)))
    source, code = _without_comments(source.replace(_OPEN, ""), code)
    title = _TITLE.search(source)
    begin, end = _BEGIN_DOCUMENT.search(source), _END_DOCUMENT.search(source)
    first, last = begin.end() if begin else 0, end.start() if end else len(source)
    code = [span for span in code if first <= span[0] and span[1] <= last]
    body = _body(source[first:last], [(start - first, end - first) for start, end in code])
    return body, _plain(_worded(title[1])) if title else None


def _without_comments(source: str, code: list[Span]) -> tuple[str, list[Span]]:
    """The source without comments outside of `code`, and where its code is now."""
    parts: list[str] = []
    moved: list[Span] = []
    length = position = 0
    for start, end in [*code, (len(source), len(source))]:
        before = _COMMENT.sub(r"\1", source[position:start])
        length += len(before)
        if end > start:
            moved.append((length, length + end - start))
        parts += [before, source[start:end]]
        length += end - start
        position = end
    return "".join(parts), moved


def _body(source: str, code: list[Span]) -> str:
    """`source` with its formulas and code set aside while the words around them are worked on."""
    formulas = formula_spans(blanked(source, code))
    environments = set(environment_spans(source)) - set(environment_spans(source, KEPT))
    kept = outermost(sorted([*code, *(span for span in formulas if span not in environments)]))
    aside: list[str] = []
    parts, position = [], 0
    for start, end in kept:
        whole = source[start:end]
        aside.append(_fenced(whole) if (start, end) in code else whole)
        parts += [source[position:start], f"{_OPEN}{len(aside) - 1}{_CLOSE}"]
        position = end
    text = _worded("".join([*parts, source[position:]]))
    return _ASIDE.sub(lambda match: aside[int(match[1])], text).strip() + "\n"


def _fenced(verbatim: str) -> str:
    lines = verbatim.strip().splitlines()
    return "\n".join(["", "```", *lines[1:-1], "```", ""]) if len(lines) > 1 else verbatim


def _worded(text: str) -> str:
    text = _ACCENT.sub(_accented, text)
    used = [name for name in _LEVELS if re.search(rf"\\{name}\b", text)]
    for pattern, replacement in _ENVIRONMENTS:
        text = pattern.sub(replacement, text)
    for _ in range(ROUNDS):
        text = _HEADING.sub(lambda match: _heading(match, used), text)
        for pattern, replacement in _COMMANDS:
            text = pattern.sub(replacement, text)
    for pattern, replacement in _SIGNS:
        text = pattern.sub(replacement, text)
    lines = (line.strip() for line in text.split("\n"))
    return _MANY_BLANK.sub("\n\n", "\n".join(lines))


def _heading(match: re.Match[str], used: list[str]) -> str:
    level = min(DEEPEST, used.index(match["name"]) + 1)
    return f"\n\n{'#' * level} {_plain(match['title'])}\n\n"


def _plain(title: str) -> str:
    return " ".join(_LABEL.sub("", title).replace("\\\\", " ").split())


def _accented(match: re.Match[str]) -> str:
    letter = (match["letter"] or match["of"]).strip("{}\\")
    return unicodedata.normalize("NFC", letter + _MARKS[match["mark"] or match["named"]])


def _theorem(match: re.Match[str]) -> str:
    note = f" ({match['note']})" if match["note"] else ""
    return f"\n\n**{match['name'].capitalize()}{note}.** "


_OPEN, _CLOSE = "\ue000", "\ue001"
_GROUP = r"\{([^{}]*)\}"
_ASIDE = re.compile(rf"{_OPEN}(\d+){_CLOSE}")
_BEGIN_DOCUMENT = re.compile(r"\\begin\s*\{document\}")
_END_DOCUMENT = re.compile(r"\\end\s*\{document\}")
_TITLE = re.compile(r"\\title\s*(?:\[[^\]]*\])?\{((?:[^{}]|\{[^{}]*\})*)\}")
_COMMENT = re.compile(r"^[ \t]*%[^\n]*\n?|(?<!\\)((?:\\\\)*)%[^\n]*", re.MULTILINE)
_LABEL = re.compile(r"\\(?:label|index|seclabel|chaplabel|markboth)\{[^{}]*\}")
_MANY_BLANK = re.compile(r"\n{3,}")
_HEADING = re.compile(
    rf"\\(?P<name>{'|'.join(_LEVELS)})\*?[ \t]*(?:\[[^\]\n]*\])?\{{(?P<title>(?:[^{{}}]|\{{[^{{}}]*\}})*)\}}"
)
_MARKS = {
    "'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304", ".": "\u0307",
    "u": "\u0306", "v": "\u030c", "H": "\u030b", "c": "\u0327", "k": "\u0328", "r": "\u030a",
}  # fmt: skip
_ACCENT = re.compile(
    r"\\(?P<mark>['`^\"~=.])(?P<letter>\{\\?[A-Za-z]\}|[A-Za-z])|\\(?P<named>[uvHckr])\{(?P<of>[A-Za-z])\}"
)
_LOOKS = "itemize|enumerate|description|center|flushleft|flushright|quote|quotation|figure|table|abstract|minipage"
_STATEMENTS = "theorem|lemma|corollary|proposition|definition|example|exercise|remark|proof|claim|exc|thm|lem|cor|defn"
_ENVIRONMENTS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(rf"\\(?:begin|end)\{{(?:{_LOOKS})\*?\}}(?:\[[^\]\n]*\])?"), "\n"),
    (re.compile(rf"\\begin\{{(?P<name>{_STATEMENTS})\*?\}}[ \t]*(?:\[(?P<note>[^\]\n]*)\])?[ \t]*"), _theorem),
    (re.compile(rf"\\end\{{(?:{_STATEMENTS})\*?\}}"), "\n\n"),
    (re.compile(r"^[ \t]*\\item[ \t]*\[([^\]\n]*)\][ \t]*", re.MULTILINE), r"- **\1** "),
    (re.compile(r"^[ \t]*\\item\b[ \t]*", re.MULTILINE), "- "),
    (re.compile(r"\\verb\*?([^\sA-Za-z*])([^\n]*?)\1"), r"`\2`"),
    (re.compile(r"\\\\(?:\[[^\]\n]*\])?\*?"), "\n"),
)
_COMMANDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (_LABEL, ""),
    (re.compile(r"\\(?:emph|textit|textsl)" + _GROUP), r"*\1*"),
    (re.compile(r"\\textbf" + _GROUP), r"**\1**"),
    (re.compile(r"\\(?:texttt|code)" + _GROUP), r"`\1`"),
    (re.compile(r"\\(?:underline|textsc|textrm|textsf|textnormal|text|mbox|caption|uppercase)" + _GROUP), r"\1"),
    (re.compile(r"\\footnote" + _GROUP), r" (\1)"),
    (re.compile(r"\\href" + _GROUP + _GROUP), r"[\2](\1)"),
    (re.compile(r"\\url" + _GROUP), r"\1"),
    (re.compile(r"[~ ]?\\(?:cite[pt]?)\*?(?:\[[^\]\n]*\])?" + _GROUP), r" [\1]"),
    (re.compile(r"\\(?:eqref|autoref|[cC]?ref|pageref)" + _GROUP), r"(\1)"),
    (re.compile(r"\\(?:[vh]space\*?|includegraphics|bibliography|bibliographystyle|usepackage|input|include)"
                r"(?:\[[^\]\n]*\])?" + _GROUP), ""),
    (re.compile(r"\\(?:noindent|centering|maketitle|tableofcontents|clearpage|newpage|medskip|bigskip|smallskip"
                r"|appendix|frontmatter|mainmatter|backmatter|par|small|large|Large|bf|it|em|tt)\b[ \t]*"), ""),
)  # fmt: skip
_SIGNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile("``"), "“"),
    (re.compile("''"), "”"),
    (re.compile("---"), "—"),
    (re.compile("--"), "–"),
    (re.compile(r"(?<!\\)~"), " "),
    (re.compile(r"\\(?:ldots|dots)\b(?:\{\})?[ \t]?"), "…"),
    (re.compile(r"\\(?:LaTeX|TeX)\b(?:\{\})?"), "LaTeX"),
    (re.compile(r"\\([%&_#{}])"), r"\1"),
    (re.compile(r"\\[,;:!/@ ]"), " "),
)
