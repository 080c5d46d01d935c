"""Text of HTML pages and of bills in XML.

XML is read in both of Congress' forms, the `<bill>` DTD (enum, header, text) and USLM 2 (num,
heading, content), and any other XML by its structure: each section and paragraph becomes a line,
its number and caption before its text. See https://xml.house.gov and https://github.com/usgpo/uslm.

Struck text is kept and shown as `[[struck: old words]]`, added text as `[[added: new words]]`: a
reader of an amendment must see what changes. (Underlined text counts as added only in an HTML page
that strikes text out.) Scripts, styles and metadata are dropped.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schemas.bills import ADDED_OPEN, MARK_CLOSE, STRUCK_OPEN
from schemas.errors import BadInput

if TYPE_CHECKING:
    from lxml.etree import _Element


def html_text(source: str, name: str, *, as_markdown: bool = False) -> str:
    """The visible text of an HTML page, a paragraph a line; preformatted text as it stands.

    With `as_markdown`, headings, list items and preformatted text are marked as Markdown does.

    Raises:
        BadInput: there is no page in it.
    """
    from lxml import etree

    # Without `huge_tree` long text is left out; what the parser gives up on is no error but in its log.
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
    try:
        root = etree.fromstring(source.encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError:
        root = None
    if root is None:
        raise BadInput(f"{name} holds no HTML page; give the page as it is served")
    if any(entry.level >= etree.ErrorLevels.FATAL for entry in parser.error_log):
        raise BadInput(f"{name} is nested too deeply to be read; give the page as it is served")
    return (_MarkdownReader if as_markdown else _HtmlReader)(root).text()


def xml_text(source: str, name: str) -> str:
    """The text of a bill in XML, each section and paragraph a line.

    Raises:
        BadInput: it is not well-formed; the message names the line.
    """
    from lxml import etree

    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(source.encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError as error:
        raise BadInput(
            f"{name} is not well-formed XML (line {error.lineno}); give the file as it was published"
        ) from None
    return _HtmlReader(root).text() if _tag(root) == "html" else _XmlReader(root).text()


@dataclass
class _Page:
    """Text as it is written, with at most one space between words and one blank line between lines."""

    pieces: list[str] = field(default_factory=list)
    waiting: int = 0
    spaced: bool = True

    def write(self, text: str, *, opens: bool = False, verbatim: bool = False) -> None:
        """Continues the line with `text`; what `opens` is not followed by a space."""
        words = text if verbatim else _SPACE.sub(" ", text)
        if not verbatim and (self.spaced or self.waiting) and words.startswith(" "):
            words = words[1:]
        if not words:
            return
        if self.pieces:
            self.pieces.append("\n" * self.waiting)
        self.waiting = 0
        self.pieces.append(words)
        self.spaced = opens or words[-1].isspace()

    def close(self, text: str) -> None:
        """Puts `text` behind the last word, before any line break that was asked for."""
        self.pieces.append(text)
        self.spaced = False

    def space(self) -> None:
        if not self.spaced and not self.waiting and not self.ends_with("—"):
            self.write(" ")

    def line(self, *, blank: bool = False) -> None:
        """What follows begins a new line, after a blank one if so asked."""
        self.waiting = max(self.waiting, 2 if blank else 1)

    def ends_with(self, endings: str) -> bool:
        written = "".join(self.pieces[-4:]).rstrip()
        return not written or written[-1] in endings

    def text(self) -> str:
        joined = _SPACE_IN_MARK.sub(MARK_CLOSE + " ", _EMPTY_MARK.sub("", "".join(self.pieces)))
        return _TRAILING_SPACE.sub("", joined).strip() + "\n"


class _Reader:
    """Walks a tree without recursion, so that deep nesting costs no stack."""

    def __init__(self, root: _Element) -> None:
        self.root = root
        self.page = _Page()

    def text(self) -> str:
        from lxml import etree

        walk = etree.iterwalk(self.root, events=("start", "end"))
        for event, element in walk:
            if event == "start" and isinstance(element.tag, str) and self.skips(element):
                walk.skip_subtree()
            elif event == "start" and isinstance(element.tag, str):
                self.open(element)
                self.write(element, element.text)
            elif event == "end":
                if isinstance(element.tag, str) and not self.skips(element):
                    self.close(element)
                elif not isinstance(element.tag, str):
                    self.page.write(html.unescape(element.text or ""))
                self.write(element.getparent(), element.tail)
        return self.page.text()

    def write(self, parent: _Element | None, text: str | None) -> None:
        if text:
            self.page.write(text)

    def skips(self, element: _Element) -> bool:
        raise NotImplementedError

    def open(self, element: _Element) -> None:
        raise NotImplementedError

    def close(self, element: _Element) -> None:
        raise NotImplementedError


class _HtmlReader(_Reader):
    def __init__(self, root: _Element) -> None:
        super().__init__(root)
        self.preformatted = 0
        elements = [element for element in root.iter() if isinstance(element.tag, str)]
        self.strikes = any(_is_struck(element) for element in elements)

    def skips(self, element: _Element) -> bool:
        return _tag(element) in _HTML_DROPPED

    def write(self, parent: _Element | None, text: str | None) -> None:
        if text:
            self.page.write(text, verbatim=self.preformatted > 0)

    def open(self, element: _Element) -> None:
        tag = _tag(element)
        self.page_break(tag)
        self.preformatted += tag == "pre"
        self.page.write(self.mark(element), opens=True)

    def close(self, element: _Element) -> None:
        tag = _tag(element)
        if self.mark(element):
            self.page.close(MARK_CLOSE)
        self.preformatted -= tag == "pre"
        if tag in {"td", "th"}:
            self.page.write("\t", verbatim=True)
        else:
            self.page_break(tag)

    def page_break(self, tag: str) -> None:
        if tag in _HTML_PARAGRAPHS or tag in _HTML_LINES:
            self.page.line(blank=tag in _HTML_PARAGRAPHS)

    def mark(self, element: _Element) -> str:
        """How `element` opens if it strikes or adds text; marks inside marks are left out."""
        mark = self.own_mark(element)
        return "" if mark and any(self.own_mark(parent) for parent in element.iterancestors()) else mark

    def own_mark(self, element: _Element) -> str:
        if _is_struck(element):
            return STRUCK_OPEN
        tag, style = _tag(element), element.get("style", "")
        added = tag == "ins" or (self.strikes and (tag == "u" or "underline" in style))
        return ADDED_OPEN if added else ""


class _MarkdownReader(_HtmlReader):
    """HTML whose headings, list items and code can be told from its text."""

    def open(self, element: _Element) -> None:
        super().open(element)
        tag = _tag(element)
        if tag in _HEADINGS:
            self.page.write("#" * int(tag[1]) + " ", opens=True)
        elif tag == "pre":
            self.page.write("```\n", verbatim=True)
        elif tag == "li" and ((element.text or "").strip() or len(element) == 0 or not _is_block(element[0])):
            self.page.write("- ", opens=True)

    def close(self, element: _Element) -> None:
        if _tag(element) == "pre":
            self.page.write("\n```", verbatim=True)
        super().close(element)


class _XmlReader(_Reader):
    """Bills: numbers, captions and texts of a level on one line; sections apart."""

    def __init__(self, root: _Element) -> None:
        super().__init__(root)
        self.mixed: dict[_Element, bool] = {}

    def skips(self, element: _Element) -> bool:
        return _tag(element) in _XML_DROPPED

    def write(self, parent: _Element | None, text: str | None) -> None:
        if parent is None or not text or _tag(parent) == "after-quoted-block":
            return
        if text.strip() or self.is_mixed(parent):
            self.page.write(text)

    def open(self, element: _Element) -> None:
        tag = _tag(element)
        if tag in _MAJOR_LEVELS or self.begins_line(element):
            self.page.line(blank=tag in _MAJOR_LEVELS)
        elif tag == "after-quoted-block":
            self.page.close("”" + (element.text or "").strip())
        elif tag in {"header", "heading"} and _tag_of_parent(element) in _MAJOR_LEVELS - {"section"}:
            self.page.write("" if self.page.ends_with("—") else "—", opens=True)
        elif tag in _JOINED and not _begins_with_mark(element):
            self.page.space()
        if tag in _LEVELS and self.is_quoted(element):
            self.page.write("“", opens=True)
        if tag == "enum":
            self.page.write(self.prefix(element), opens=True)
        self.page.write("“" if tag == "quote" else self.changed(element), opens=True)

    def close(self, element: _Element) -> None:
        tag = _tag(element)
        if tag in {"header", "heading"}:
            self.end_caption(element)
        elif tag == "quote" or (tag == "quoted-block" and element.find("{*}after-quoted-block") is None):
            self.page.close("”")
        elif self.changed(element):
            self.page.close(MARK_CLOSE)
        elif tag == "entry":
            self.page.write("\t", verbatim=True)
        if tag in _MAJOR_LEVELS or self.begins_line(element):
            self.page.line(blank=tag in _MAJOR_LEVELS)

    def begins_line(self, element: _Element) -> bool:
        tag, parent = _tag(element), element.getparent()
        if tag in _JOINED or tag in _XML_INLINE or parent is None:
            return False
        if tag == "p" and _tag(parent) in _JOINED and parent[0] is element:
            return False  # the first paragraph stands behind its number
        if tag in _LEVELS or tag in _XML_LINES:
            return True
        return _tag(parent) not in _JOINED | _XML_INLINE and not self.is_mixed(parent)

    def is_mixed(self, element: _Element) -> bool:
        """True when words stand directly in `element`, so that its children are words in a line."""
        if element not in self.mixed:
            between = [element.text, *(child.tail for child in element)]
            self.mixed[element] = any(text and text.strip() for text in between)
        return self.mixed[element]

    def is_quoted(self, element: _Element) -> bool:
        """True inside a quoted block of the older form, whose quotation marks are left to the printer."""
        return next(element.iterancestors("{*}quoted-block"), None) is not None

    def prefix(self, enum: _Element) -> str:
        """What the printer puts before a bare number: `SEC.` before `2.`, `TITLE` before `I`."""
        tag = _tag_of_parent(enum)
        if tag == "section":
            return "SEC. "
        return f"{tag.upper()} " if tag in _MAJOR_LEVELS else ""

    def end_caption(self, caption: _Element) -> None:
        """The point or dash that the printer sets after a caption, where the document leaves it out."""
        tag, text = _tag_of_parent(caption), caption.getnext()
        ended = self.page.ends_with(".:;,—-–?!") or (text is not None and _begins_with_mark(text))
        if tag in _MAJOR_LEVELS:
            if not ended and tag == "section":
                self.page.close(".")
            self.page.line()
        elif not ended and tag in _LEVELS:
            self.page.write(".—", opens=True)

    def changed(self, element: _Element) -> str:
        tag, change = _tag(element), element.get("changed", "")
        if tag in {"del", "deleted-phrase"} or change == "deleted":
            return STRUCK_OPEN
        return ADDED_OPEN if tag in {"ins", "added-phrase"} or change == "added" else ""


def _tag(element: _Element) -> str:
    """The name of `element` without its namespace."""
    return str(element.tag).rpartition("}")[2]


def _tag_of_parent(element: _Element) -> str:
    parent = element.getparent()
    return "" if parent is None else _tag(parent)


def _begins_with_mark(element: _Element) -> bool:
    first = next((str(text).lstrip() for text in element.itertext() if text.strip()), "")
    return first[:1] in set(".:;,—-–")


def _is_block(element: _Element) -> bool:
    return _tag(element) in _HTML_PARAGRAPHS or _tag(element) in _HTML_LINES


def _is_struck(element: _Element) -> bool:
    return _tag(element) in {"s", "del", "strike"} or "line-through" in element.get("style", "")


def _names(*names: str) -> Iterator[str]:
    for group in names:
        yield from group.split()


_SPACE = re.compile(r"\s+")
_TRAILING_SPACE = re.compile(r"[ \t]+(?=\n)")
_EMPTY_MARK = re.compile(rf"(?:{re.escape(STRUCK_OPEN)}|{re.escape(ADDED_OPEN)})\s*{re.escape(MARK_CLOSE)}")
_SPACE_IN_MARK = re.compile(rf"[ \t]+{re.escape(MARK_CLOSE)}[ \t]*")
_HEADINGS = frozenset(_names("h1 h2 h3 h4 h5 h6"))
_HTML_DROPPED = frozenset(_names("script style head template noscript svg object iframe button select nav"))
_HTML_PARAGRAPHS = frozenset(_names("p h1 h2 h3 h4 h5 h6 blockquote pre table ul ol dl hr section article"))
_HTML_LINES = frozenset(_names("br div li dt dd tr caption header footer main aside center figure form fieldset"))
_MAJOR_LEVELS = frozenset(
    _names("division subdivision title subtitle part subpart chapter subchapter article section appendix")
)
_LEVELS = _MAJOR_LEVELS | frozenset(
    _names("subsection paragraph subparagraph clause subclause item subitem level appropriations-small")
)
_JOINED = frozenset(_names("enum num header heading text content chapeau after-quoted-block designator label"))
_XML_INLINE = frozenset(_names("quote term ref external-xref internal-xref italic bold i b inline entry"))
_XML_LINES = frozenset(
    _names(
        "p continuation continuation-text quoted-block quotedContent toc-entry referenceItem",
        "row tr list-item li table toc",
    )
)
_XML_DROPPED = frozenset(_names("metadata meta dublinCore pagebreak page style script"))
