"""A reply shows as quotations only words that stand in the passages it was given."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.answering import THE_MATERIALS_DO_NOT_SAY, Passage
from tasks.answering.quotations import CheckedReply, check_reply

LIMIT = "The **derivative** is the limit of the difference quotient. It is written f'(a)."
TABLE = "A hash table stores pairs in buckets. 哈希表把键值对放进桶里。"


def passage(number: int, content: str, title: str) -> Passage:
    return Passage(
        number=number, chunk_id=UUID(int=number), material_id=f"m{number}", course_id="c", type="lecture", week=None,
        title=title, heading_path=(), content=content, start=100, relevance=0.5,
    )  # fmt: skip


PASSAGES = (passage(1, LIMIT, "What derivatives are for"), passage(2, TABLE, "Tables"))


def check(reply: str, *said: str) -> CheckedReply:
    return check_reply(reply, PASSAGES, said)


def cited(checked: CheckedReply) -> list[tuple[int, str]]:
    return [(each.ordinal, each.quote) for each in checked.references]


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ('It is "the limit of the difference quotient" [1].', None),
        ("It is „the LIMIT of the difference\nquotient“ [1].", None),
        ("As [1] has it, it is «the limit of the difference quotient».", None),
        ('It is "the limit of the difference quotient" [2].', 'It is "the limit of the difference quotient" [1].'),
        ('It is "the limit of the difference quotient", [7].', 'It is "the limit of the difference quotient" [1],.'),
        ('It is "the limit of the difference quotient".', 'It is "the limit of the difference quotient" [1].'),
        ("So:\n\n> the limit of the\n> difference quotient [1]\n\nYes.", None),
        ("> the limit of the difference quotient\n> — Newton [1]", None),
        ('> "the limit of the difference quotient"', '> "the limit of the difference quotient" [1]'),
    ],
)
def test_words_that_stand_in_a_passage_are_cited_from_where_they_stand(reply: str, text: str | None) -> None:
    checked = check(reply)
    assert checked.text == (text or reply)
    assert cited(checked) == [(1, "the limit of the difference quotient")]
    (reference,) = checked.references
    assert (reference.start, reference.end) == (100 + LIMIT.index("the limit"), 100 + LIMIT.index(". It is"))
    assert checked.dropped == ()


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ('It is "the area under the curve" [1].', "It is the area under the curve."),
        ('It is "the area under the curve", [1] [2], so.', "It is the area under the curve,, so."),
        ("It is “the area under the curve.”", "It is the area under the curve."),
        ("So:\n\n> the area under\n> the curve [1]\n\nYes.", "So:\n\nthe area under\nthe curve\n\nYes."),
        ('It is "the limit of no difference quotient" [1].', "It is the limit of no difference quotient."),
        ("「哈希表把键值对放进井里」[2]", "哈希表把键值对放进井里"),
    ],
)
def test_words_that_stand_nowhere_are_no_quotation(reply: str, text: str) -> None:
    checked = check(reply)
    assert (checked.text, checked.references, len(checked.dropped)) == (text, (), 1)


def test_what_is_cited_stays_beside_what_is_not() -> None:
    reply = 'It "stores pairs in buckets" [2], and "does so in constant time" [2]. See [1], not [7].'
    checked = check(reply)
    assert checked.text == 'It "stores pairs in buckets" [2], and does so in constant time. See [1], not.'
    assert cited(checked) == [(1, LIMIT), (2, "stores pairs in buckets")]
    assert [each.text for each in checked.dropped] == ["does so in constant time"]


def test_the_conversation_and_titles_may_be_quoted_but_are_not_cited_as_the_material() -> None:
    reply = 'You said "I am bad at limits" [1]; read "What derivatives are for" [1].'
    checked = check(reply, "I am bad at limits.")
    assert checked.text == 'You said "I am bad at limits"; read "What derivatives are for" [1].'
    assert (cited(checked), checked.dropped) == ([(1, LIMIT)], ())


@pytest.mark.parametrize(
    "reply",
    [
        'print("some words of mine", a[7])'.join(("```python\n", "\n```")),
        'Write `say("no such words here")`, or `a[7]`.',
        'A "hash table" is a "table".',
        "On [0, 1] and [1, 7], x_[7] and f[7].",
        '~~~\n[7] "no such words here"',
        "[7](https://example.org)",
    ],
)
def test_code_terms_and_intervals_are_left_alone(reply: str) -> None:
    assert check(reply) == CheckedReply(reply)


def test_several_numbers_in_one_pair_of_brackets_are_each_cited() -> None:
    assert cited(check("Both say so [1, 2].")) == [(1, LIMIT), (2, TABLE)]


def test_a_reply_of_which_nothing_is_left_says_that_the_materials_do_not_say() -> None:
    assert check(" [7]").text == THE_MATERIALS_DO_NOT_SAY


@given(st.text(st.sampled_from('"“”„«»> \n`[]12,.ab the limit of'), max_size=80))
def test_whatever_a_reply_is_its_quotes_stand_in_the_passages(reply: str) -> None:
    checked = check(reply)
    for each in checked.references:
        content = PASSAGES[each.ordinal - 1].content
        assert content[each.start - 100 : each.end - 100] == each.quote
    assert checked.text.strip()
