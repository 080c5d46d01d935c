"""What a model is shown of a bill, and what it may cite."""

from __future__ import annotations

import re

import pytest

from schemas.analysis import SearchQueries
from schemas.bills import SectionPart, Span
from schemas.calls import ModelInfo
from schemas.identifiers import new_id
from tasks.analysis.drafting import (
    GROUP_TOKENS,
    LISTED_CITES,
    citable,
    citable_schema,
    group_bill,
    readings_of,
    render_document,
    sentences_of,
)
from tasks.ledger.calls import Completion, StructuredCompletion
from tests.tasks.analysis.real_bills import each_bill, text_of
from tests.tasks.analysis.small_bills import bill_of


def model(window: int | None) -> ModelInfo:
    return ModelInfo(model="m", provider="p", identity="i", context_window=window)


@each_bill
@pytest.mark.parametrize("window", [None, 8192, 128_000])
def test_each_sentence_of_a_bill_is_shown_in_exactly_one_group(name: str, window: int | None) -> None:
    bill = bill_of(text_of(name))
    groups = group_bill(bill, model(window))
    shown = [sentence.number for group in groups for sentence in sentences_of(bill, group)]
    assert shown == [sentence.number for sentence in bill.sentences]
    assert "".join(part.span.of(bill.text) for group in groups for part in group) == bill.text


def test_a_small_window_makes_small_groups_and_a_large_one_no_larger_than_is_read_well() -> None:
    bill = bill_of("\n\n".join(f"SECTION {n}. T{n}.\n\n    " + "The board shall meet. " * 400 for n in range(1, 40)))
    tokens = {
        window: max(sum(part.tokens for part in group) for group in group_bill(bill, model(window)))
        for window in (2048, 8192, 1_000_000)
    }
    assert tokens[2048] <= 500
    assert 500 < tokens[8192] < (8192 - 1600) / 1.3
    assert tokens[8192] < tokens[1_000_000] <= GROUP_TOKENS


def test_a_document_shows_numbered_sentences_under_the_titles_of_their_sections() -> None:
    bill = bill_of()
    (group,) = group_bill(bill, model(None))
    shown = render_document(bill, group)
    assert shown.startswith('<bill key="US/HR5/117">')
    assert re.findall(r"^## (.+)$", shown, re.MULTILINE) == ["SECTION 1. RENTS", "SECTION 2. FEES"]
    numbers = re.findall(r"^\[S(\d+)\] ", shown, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, len(bill.sentences) + 1)]


def test_only_sentences_long_enough_and_after_the_preamble_are_worth_citing() -> None:
    bill = bill_of("AN ACT relating to the rents of all dwellings in this state.\n\n" + bill_of().text)
    (group,) = group_bill(bill, model(None))
    said = [bill.reading(sentence.span) for sentence in citable(bill, group)]
    assert len(said) == 4
    assert all(len(sentence.split()) >= 6 for sentence in said)
    assert not any("AN ACT" in sentence for sentence in said)


def test_a_bill_of_short_sentences_may_be_cited_all_the_same() -> None:
    bill = bill_of("SECTION 1. NAME.\n\n    It has one.\n")
    (group,) = group_bill(bill, model(None))
    assert citable(bill, group) == bill.sentences


def test_the_schema_lists_what_may_be_cited() -> None:
    bill = bill_of()
    (group,) = group_bill(bill, model(None))
    schema = citable_schema(bill, group, ["R1"])
    cites = schema["$defs"]["Citation"]["properties"]["cite"]["enum"]
    assert cites == [f"S{sentence.number}" for sentence in citable(bill, group)] + ["R1"]
    titles = schema["$defs"]["DraftImpact"]["properties"]["section"]["enum"]
    assert titles == ["SECTION 1. RENTS", "SECTION 2. FEES"]


def test_the_schema_of_a_long_group_says_only_what_a_citation_looks_like() -> None:
    said = "".join(f"    The board of district {n} shall meet each month.\n" for n in range(LISTED_CITES + 5))
    bill = bill_of(f"SECTION 1. BOARDS.\n\n{said}")
    (group,) = group_bill(bill, model(None))
    cite = citable_schema(bill, group)["$defs"]["Citation"]["properties"]["cite"]
    assert "enum" not in cite
    assert re.match(cite["pattern"], "S12")


def test_neighbouring_parts_are_one_span_and_every_round_has_read_it() -> None:
    rounds = tuple(
        Completion(
            text="{}",
            request_id=new_id(),
            model="m",
            answered_model="m",
            finish_reason="stop",
            usage=None,
            cost_usd=None,
            cost_source="unpriced",
            replayed=False,
            latency_ms=1,
        )
        for _ in range(2)
    )
    answer = StructuredCompletion[SearchQueries](value=SearchQueries(queries=["q"]), rounds=rounds)
    spans = [Span(start=0, end=5), Span(start=5, end=9), Span(start=20, end=30)]
    group = [SectionPart(section=n, part=1, parts=1, span=span, tokens=1) for n, span in enumerate(spans)]
    readings = readings_of(answer, "generate", group)
    assert [item.request_id for item in readings] == [item.request_id for item in rounds]
    assert readings[0].spans == [Span(start=0, end=9), Span(start=20, end=30)]
