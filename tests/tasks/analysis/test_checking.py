"""Citations are looked up without a model."""

from __future__ import annotations

import pytest

from schemas.analysis import Amounts, Citation, Evidence, Impact
from tasks.analysis.checking import check_draft, number_impacts
from tests.tasks.analysis.small_bills import RENTS, analysis_with, bill_of, claim, draft_of, research_of

NOTHING_FOUND = research_of()


def checked(*evidence: Citation, amounts: Amounts | None = None, text: str = RENTS) -> Impact:
    (impact,) = check_draft(draft_of(claim(*evidence, amounts=amounts)), bill_of(text), NOTHING_FOUND).impacts
    return impact


def only(impact: Impact) -> Evidence:
    (evidence,) = impact.evidence
    return evidence


def number_of(words: str, text: str = RENTS) -> str:
    bill = bill_of(text)
    (found,) = [sentence.number for sentence in bill.sentences if words in bill.reading(sentence.span)]
    return f"S{found}"


def test_a_cited_sentence_is_quoted_as_it_stands() -> None:
    impact = checked(Citation(cite=number_of("six percent")))
    evidence = only(impact)
    assert evidence.quote.endswith("raise the rent of it by more than six percent in any year.")
    assert (evidence.status, evidence.located, evidence.source) == ("exact", True, "bill")
    assert " ".join(RENTS[evidence.start : evidence.end].split()) == evidence.quote
    assert (impact.supported, impact.clause, impact.confidence) == (True, "SECTION 1. RENTS", 0.8)


def test_a_quote_leaves_out_the_line_numbers_of_a_printed_bill() -> None:
    lines = (
        "Section 1. The owner of a dwelling shall give the",
        "tenant ninety days of notice before a raise of the",
        "rent takes effect in any county of this state.",
        *["The board shall keep a register of all such notices."] * 12,
    )
    printed = "".join(f"  {number:2}  {line}\n" for number, line in enumerate(lines, 1))
    evidence = only(checked(Citation(cite=number_of("ninety days", printed)), text=printed))
    assert "shall give the tenant ninety days of notice before a raise of the rent takes effect" in evidence.quote
    assert "3  rent takes effect" in printed[evidence.start : evidence.end]


def test_a_sentence_of_few_words_does_not_count() -> None:
    evidence = only(checked(Citation(cite=number_of("give its reasons"), quote="give its reasons")))
    assert (evidence.status, evidence.located) == ("exact", False)


@pytest.mark.parametrize("cite", ["S999", "S0", "R1", "section 2", ""])
def test_a_citation_of_nothing_is_missing(cite: str) -> None:
    impact = checked(Citation(cite=cite))
    assert (only(impact).status, only(impact).located, impact.supported) == ("missing", False, False)
    assert impact.clause == "no clause located"


def test_brackets_around_a_number_are_overlooked() -> None:
    number = number_of("six percent")
    assert only(checked(Citation(cite=f"[{number}]"))) == only(checked(Citation(cite=number)))


def test_words_quoted_from_another_sentence_are_found_where_they_are() -> None:
    said = "the fee is waived for a dwelling that its owner occupies"
    evidence = only(checked(Citation(cite=number_of("six percent"), quote=said)))
    assert (evidence.status, evidence.located, evidence.section) == ("exact", True, "SECTION 2. FEES")
    assert evidence.quote.lower() == said


def test_a_near_quote_keeps_both_texts_and_does_not_count() -> None:
    said = "The owner shall not pay the fee of $1,250.50 to the clerk"
    impact = checked(Citation(cite=number_of("$1,250.50"), quote=said))
    evidence = only(impact)
    assert (evidence.status, evidence.located, evidence.quote) == ("approximate", False, said)
    assert evidence.nearest is not None
    assert "owner shall pay the fee" in evidence.nearest
    assert not impact.supported


def test_the_same_citation_twice_is_one_piece_of_evidence() -> None:
    number = number_of("six percent")
    assert len(checked(Citation(cite=number), Citation(cite=number)).evidence) == 1


def test_a_research_result_does_not_support_a_claim_alone() -> None:
    research = research_of("The county board sets the limits for rents each year.")
    alone = claim(Citation(cite="R1", quote="county board sets the limits for rents"))
    both = claim(Citation(cite="R1"), Citation(cite=number_of("six percent")))
    first, second = check_draft(draft_of(alone, both), bill_of(), research).impacts
    assert [(item.source, item.located, item.start) for item in first.evidence] == [("CA/AB7/2024", True, None)]
    assert (first.supported, first.clause) == (False, "no clause located")
    assert (second.supported, second.clause) == (True, "SECTION 1. RENTS")


def amounts_on(basis: str, *percentiles: float) -> Amounts:
    names = ("p10", "p25", "p50", "p75", "p90")
    return Amounts(**dict(zip(names, percentiles or (1, 2, 3, 4, 5), strict=True)), basis=basis)


@pytest.mark.parametrize("basis", ["$1,250.50", "1250.50 a dwelling", "the fee of $1,250.50 from July 1, 2027"])
def test_amounts_stay_on_numbers_that_are_quoted(basis: str) -> None:
    impact = checked(Citation(cite=number_of("$1,250.50")), amounts=amounts_on(basis))
    assert (impact.amounts, impact.amounts_removed) == (amounts_on(basis), None)


@pytest.mark.parametrize("basis", ["$1,250", "$1,250.50 for each of 900 dwellings", "the fee", "$2,501"])
def test_amounts_go_with_a_number_that_is_not_quoted(basis: str) -> None:
    impact = checked(Citation(cite=number_of("$1,250.50")), amounts=amounts_on(basis))
    assert (impact.amounts, impact.amounts_removed) == (None, f"no located quote states {basis!r}")


def test_amounts_go_where_the_number_stands_in_a_quote_that_is_not_located() -> None:
    near = Citation(cite="S1", quote="The owner shall not pay the fee of $1,250.50 to the clerk")
    assert checked(near, amounts=amounts_on("$1,250.50")).amounts is None


def test_amounts_that_do_not_ascend_go() -> None:
    impact = checked(Citation(cite=number_of("$1,250.50")), amounts=amounts_on("$1,250.50", 5, 4, 3, 2, 1))
    assert impact.amounts_removed == "the percentiles do not ascend"


def test_impacts_of_all_parts_are_numbered_through() -> None:
    parts = number_impacts([analysis_with([True], [True]), analysis_with(), analysis_with([False])])
    assert [[impact.number for impact in part.impacts] for part in parts] == [[1, 2], [], [3]]
