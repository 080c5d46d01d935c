"""Chunks: exact places, whole formulas and code, headings, overlap, all scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
import regex  # type: ignore[import-untyped]
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blocks.embedded.token_counting import count_tokens
from schemas.errors import BadInput
from schemas.retrieval import ChunkLimits, ChunkPiece, MaterialFormat
from tasks.embedding.chunking import CHUNKER, chunk_text, chunker_name
from tasks.embedding.leaves import TokenCounter
from tasks.embedding.structure import first_heading, material_format
from tests.conftest import shared_data


def words(texts: Sequence[str]) -> list[int]:
    """Words parted by blanks count as one token each."""
    return [len(text.split()) for text in texts]


def characters(texts: Sequence[str]) -> list[int]:
    """Every character is a token, blanks too: what is put together has more than its parts."""
    return [len(text) for text in texts]


def utf8(texts: Sequence[str]) -> list[int]:
    """Every byte is a token: a grapheme can have more than one."""
    return [len(text.encode()) for text in texts]


def chunks(
    content: str, tokens: int, overlap: int = 0, count: TokenCounter = words, kind: MaterialFormat = "markdown"
) -> list[ChunkPiece]:
    return chunk_text(content, format=kind, limits=ChunkLimits(tokens, overlap), count=count)


def texts(pieces: Sequence[ChunkPiece]) -> list[str]:
    return [piece.content for piece in pieces]


def test_a_heading_begins_a_chunk_and_is_on_the_path_of_its_text() -> None:
    content = "# Sorting\n\nWhy we sort at all.\n\n## Heaps\n\nA heap is a tree.\n\n# Graphs\n\nNodes and edges here.\n"
    assert [(piece.content, piece.heading_path) for piece in chunks(content, 8)] == [
        ("# Sorting\n\nWhy we sort at all.", ("Sorting",)),
        ("## Heaps\n\nA heap is a tree.", ("Sorting", "Heaps")),
        ("# Graphs\n\nNodes and edges here.", ("Graphs",)),
    ]


def test_small_sections_are_joined_but_never_with_a_higher_one() -> None:
    content = "# A\n\none\n\n## B\n\ntwo\n\n## C\n\nthree\n\n# D\n\nfour five six\n"
    assert [(piece.content[-5:], piece.heading_path) for piece in chunks(content, 24)] == [
        ("two".rjust(5, "\n"), ("A",)),
        ("three", ("A", "C")),
        ("e six", ("D",)),
    ]


def test_blocks_are_kept_whole_where_they_fit_and_else_cut_after_a_sentence() -> None:
    content = "One two three.\n\nFour five. Six seven eight nine ten. Eleven twelve.\n\nThirteen.\n"
    assert texts(chunks(content, 7)) == [
        "One two three.\n\nFour five.",
        "Six seven eight nine ten. Eleven twelve.",
        "Thirteen.",
    ]


def test_an_abbreviation_or_a_number_ends_no_sentence() -> None:
    content = "See e.g. the lists of Fig. 3 and Dr. Ode. Then go on with the next one."
    assert texts(chunks(content, 10)) == ["See e.g. the lists of Fig. 3 and Dr. Ode.", "Then go on with the next one."]


def test_a_formula_stays_with_the_words_that_announce_it() -> None:
    content = "Some words that stand before. More of them are here.\n\nTheir number is equal to:\n\n$$a + b + c$$\n"
    assert texts(chunks(content, 15))[-1] == "Their number is equal to:\n\n$$a + b + c$$"


@pytest.mark.parametrize(
    "whole",
    [
        "$$\na. B c\n= d\n- e, f\n$$",
        "$x! Y z. W$",
        "\\[ a. B \\\\[2pt] c! D \\]",
        "\\( p? Q \\)",
        "\\begin{align*}\na &= b. \\\\\nC &= d\n\\end{align*}",
        "```python\nx = 1. \n\n\ny = '$ 2.'\n```",
        "| a | b |\n|---|---|\n| 1. X | 2 |\n| 3 | 4 |",
        "`a. B c. D e. F`",
    ],
)
def test_formulas_code_and_tables_that_fit_are_not_cut(whole: str) -> None:
    filler = "word " * 11 + "end."
    for before in range(12):
        content = "go " * before + f"on.\n\n{filler}\n\n{whole}\n\n{filler}"
        pieces = chunks(content, 20)
        assert sum(whole in piece.content for piece in pieces) == 1, before
        assert max(piece.tokens for piece in pieces) <= 20


def test_a_table_that_does_not_fit_is_cut_between_rows() -> None:
    rows = [f"| {number} | some more words |" for number in range(12)]
    content = "\n".join(["| n | text |", "|---|---|", *rows])
    lines = [line for piece in chunks(content, 20) for line in piece.content.splitlines()]
    assert lines == content.splitlines()
    assert all(piece.content.startswith("|") and piece.content.endswith("|") for piece in chunks(content, 20))


def test_an_equals_sign_in_a_formula_makes_no_heading() -> None:
    (piece,) = chunks("$$\na + b\n=\nc\n$$\n\nText.", 20)
    assert piece.heading_path == ()


def test_the_anchor_before_a_heading_goes_with_it() -> None:
    content = "One two three.\n\n<a name='b'></a>\n\n## B\n\nFour.\n"
    assert texts(chunks(content, 8)) == ["One two three.", "<a name='b'></a>\n\n## B\n\nFour."]


def test_no_scrap_is_left_at_the_end_of_a_section() -> None:
    content = " ".join(f"Word{number} and more here." for number in range(6))  # 24 words
    assert [piece.tokens for piece in chunks(content, 20)] == [16, 8]
    assert [piece.tokens for piece in chunks(content + " " + content, 20)] == [20, 20, 8]


def test_dollar_amounts_are_no_formula() -> None:
    content = "It costs $5 a day. It was $7. " * 3
    assert texts(chunks(content, 8)) == ["It costs $5 a day. It was $7."] * 3


def test_the_last_sentences_are_repeated_within_a_section_only() -> None:
    content = "# A\n\nOne two three. Four five six. Seven eight nine.\n\n# B\n\nTen eleven twelve. Thirteen.\n"
    assert texts(chunks(content, 8, 4)) == [
        "# A\n\nOne two three. Four five six.",
        "Four five six. Seven eight nine.",
        "# B\n\nTen eleven twelve. Thirteen.",
    ]


def test_list_items_are_cut_apart_before_their_sentences_are() -> None:
    content = "- one two. Three four.\n- five six. Seven eight.\n- nine ten. Eleven twelve.\n"
    assert texts(chunks(content, 12)) == [
        "- one two. Three four.\n- five six. Seven eight.",
        "- nine ten. Eleven twelve.",
    ]


def test_chinese_is_cut_after_its_full_stops() -> None:
    content = "线段树是一种数据结构．它可以在对数时间内完成修改！查询也是如此？是的。"
    assert texts(chunks(content, 16, count=characters)) == [
        "线段树是一种数据结构．",
        "它可以在对数时间内完成修改！",
        "查询也是如此？是的。",
    ]


def test_arabic_is_cut_after_its_question_mark() -> None:
    content = "ما هي الشجرة؟ الشجرة بنية بيانات. كل عقدة لها أب واحد."
    assert texts(chunks(content, 4)) == ["ما هي الشجرة؟", "الشجرة بنية بيانات.", "كل عقدة لها أب", "واحد."]


@pytest.mark.parametrize("grapheme", ["e\u0301\u0300", "👩‍👩‍👧", "🇳🇴", "क्षि", "각", "\r\n"])
def test_no_grapheme_is_cut(grapheme: str) -> None:
    content = "a" + f"{grapheme}" * 30 + "b"
    for tokens in (1, 2, 3, 5, 7):
        pieces = chunks(content, tokens, count=utf8)
        starts = {match.start() for match in regex.finditer(r"\X", content)} | {len(content)}
        assert all({piece.start, piece.end} <= starts for piece in pieces)


def test_latex_has_headings_paragraphs_and_environments() -> None:
    content = (
        "\\section{Trees \\label{trees}}\nA tree has nodes.\n\nIt has a root.\n"
        "\\subsection*{A \\emph{binary} tree}\n\\begin{theorem}\nIt has two. Or fewer.\n\\end{theorem}\n"
    )
    pieces = chunks(content, 10, kind="latex")
    assert [piece.heading_path for piece in pieces] == [("Trees",), ("Trees", "A \\emph{binary} tree")]
    assert pieces[-1].content.endswith("\\begin{theorem}\nIt has two. Or fewer.\n\\end{theorem}")


def test_plain_text_has_paragraphs_and_pages_but_no_headings() -> None:
    content = "# 3 is no heading\nhere.\n\nNext one.\n\f\nPage two."
    assert [(piece.content, piece.heading_path) for piece in chunks(content, 6, kind="text")] == [
        ("# 3 is no heading\nhere.", ()),
        ("Next one.\n\f\nPage two.", ()),
    ]


def test_the_format_is_as_stated_or_as_it_looks() -> None:
    assert material_format("\\section{A}\ntext \\item b") == "latex"
    assert material_format("# A\n\n$\\frac{a}{b}$ and \\begin{align}x\\end{align}") == "markdown"
    assert material_format("# A", "text") == "text"
    assert material_format("# A", "novel") == "markdown"


def test_the_first_heading_is_the_one_with_words() -> None:
    assert first_heading("#\n\nSet *up*\n=====\n\n# B", "markdown") == "Set up"
    assert first_heading("no heading", "markdown") is None
    assert first_heading("## Trees {#trees .x}\n", "markdown") == "Trees"
    assert first_heading("# #Deque#: an #SSet# ##\n", "markdown") == "#Deque#: an #SSet#"
    assert first_heading("\\section{Never closed\nText.", "latex") == "Never closed"
    assert first_heading("## Iterating, $\\binom{n}{2}$ times\n", "markdown") == "Iterating, $\\binom{n}{2}$ times"


@pytest.mark.parametrize(("tokens", "overlap"), [(0, 0), (10, 6), (10, -1)])
def test_limits_that_leave_no_room_are_refused(tokens: int, overlap: int) -> None:
    with pytest.raises(BadInput, match=f"chunks of {tokens} tokens cannot overlap by {overlap}"):
        ChunkLimits(tokens, overlap)


def test_the_name_of_the_chunker_holds_its_numbers() -> None:
    assert chunker_name(ChunkLimits(256, 32)) == f"{CHUNKER}/256/32"


def test_a_word_without_an_end_counts_by_its_bytes_and_is_cut() -> None:
    pieces = chunks("x" * 10_000, 200, count=count_tokens)
    assert max(piece.tokens for piece in pieces) <= 200
    assert max(len(piece.content) for piece in pieces) <= 800
    assert "".join(texts(pieces)) == "x" * 10_000


def test_signs_without_a_width_do_not_make_a_chunk_without_an_end() -> None:
    pieces = chunks("\u200b" * 50_000, 200, count=count_tokens)
    assert max(len(piece.content) for piece in pieces) <= 200 * 33


def test_a_page_of_blanks_parts_what_stands_around_it_and_nothing_else() -> None:
    content = "One two. Three four." + " " * 5_000 + "Five six. Seven eight."
    assert texts(chunks(content, 40, count=characters)) == ["One two. Three four.", "Five six. Seven eight."]
    assert texts(chunks(content, 40)) == [content]


def _holds(content: str, pieces: Sequence[ChunkPiece], limits: ChunkLimits, count: TokenCounter) -> None:
    graphemes = {match.start() for match in regex.finditer(r"\X", content)} | {len(content)}
    covered = bytearray(len(content))
    for piece in pieces:
        assert content[piece.start : piece.end] == piece.content
        assert piece.content.strip()
        assert {piece.start, piece.end} <= graphemes
        assert piece.tokens == count([piece.content])[0]
        assert piece.tokens <= limits.tokens or len(regex.findall(r"\X", piece.content)) == 1
        covered[piece.start : piece.end] = b"\x01" * (piece.end - piece.start)
    assert all(there or character.isspace() for there, character in zip(covered, content, strict=True))
    assert all(one.start < other.start and one.end < other.end for one, other in pairwise(pieces))


_MARKDOWN = [
    "# A\n", "## B c\n", "- ", "1. ", "> ", "```\n", "    ", "| a | b |\n", "|---|---|\n", "<div>\n", "`a`", "---\n"
]  # fmt: skip
_FORMULAS = [
    "$x$",
    "$$",
    "$",
    "\\[",
    "\\]",
    "\\begin{x}",
    "\\end{x}",
    "\\section{T}\n",
    "\\section{",
    "\\item ",
    "{",
    "}",
]
_LETTERS = ["word ", "Word. ", "e\u0301", "\u0301", "字", "。", "؟ ", "🇳🇴", "👩‍👧", "\u200d", "\u0600"]
_BLANKS = ["\n\n", "\n", " ", "\t", "\r\n", "\r", "\f", "\x1c", "\u2028"]
_SCRAPS = st.sampled_from([*_MARKDOWN, *_FORMULAS, *_LETTERS, *_BLANKS])
_CONTENTS = st.one_of(st.lists(_SCRAPS, max_size=60).map("".join), st.text(max_size=80))
_LIMITS = st.integers(1, 40).flatmap(
    lambda tokens: st.integers(0, tokens // 2).map(lambda overlap: ChunkLimits(tokens, overlap))
)


@example("`a`\u0301", "markdown", ChunkLimits(3, 0), characters)  # code whose end an accent belongs to
@settings(max_examples=600)
@given(_CONTENTS, st.sampled_from(["markdown", "latex", "text"]), _LIMITS, st.sampled_from([words, characters, utf8]))
@example(" \u0301a", "markdown", ChunkLimits(1, 0), characters)
@example("\u0600 a", "text", ChunkLimits(1, 0), characters)
@example("", "markdown", ChunkLimits(1, 0), words)
def test_chunks_cover_all_text_in_order_within_the_limit(
    content: str, kind: MaterialFormat, limits: ChunkLimits, count: TokenCounter
) -> None:
    pieces = chunk_text(content, format=kind, limits=limits, count=count)
    _holds(content, pieces, limits, count)
    assert chunk_text(content, format=kind, limits=limits, count=count) == pieces


def test_real_course_materials_are_cut_as_promised() -> None:
    lines = (shared_data("course") / "materials.jsonl").read_text().splitlines()
    contents = [json.loads(line)["content"] for line in lines[::12]]
    limits = ChunkLimits()
    for content in contents:
        pieces = chunk_text(content, format=material_format(content), limits=limits, count=count_tokens)
        assert pieces
        _holds(content, pieces, limits, count_tokens)
