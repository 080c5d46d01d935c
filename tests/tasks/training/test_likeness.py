"""Which texts are nearly equal, and what follows for the rows of an export."""

from __future__ import annotations

import random
from pathlib import Path
from uuid import UUID

import orjson
import pytest

from schemas.training import ExportOptions
from tasks.training.likeness import BLOCK, Likeness, words_of
from tasks.training.reading import CallRead
from tasks.training.writing import Moment, write_export

WORDS = [f"w{number}" for number in range(2000)]


def text(seed: int, length: int = 60) -> list[str]:
    """Words that no other seed has in this order."""
    return random.Random(seed).sample(WORDS, length)


def changed(words: list[str], places: int) -> list[str]:
    """The words with so many of the last replaced, of 58 runs of three as many are others."""
    return [*words[: len(words) - places], *(f"other{place}" for place in range(places))]


def groups(texts: list[str], threshold: float) -> list[int]:
    """Which is the first that each is alike to."""
    likeness = Likeness(threshold)
    for each in texts:
        likeness.add(each)
    return likeness.groups()


def test_texts_that_share_most_of_their_runs_are_alike_and_others_are_not() -> None:
    one = text(1)
    near, far = changed(one, 2), changed(one, 30)  # 56 of 60 runs in common, and 28 of 88
    texts = [" ".join(words) for words in (one, text(2), near, far)]
    assert groups(texts, 0.8) == [0, 1, 0, 3]
    assert groups(texts, 0.2) == [0, 1, 0, 0]


def test_case_and_signs_make_no_difference_and_scripts_without_spaces_are_read_sign_by_sign() -> None:
    assert words_of("ＷＨＹ, though?") == ["why", "though"]
    assert words_of("水闸怎么") == ["水", "闸", "怎", "么"]
    assert groups(["Why does a lock need two gates?", "why DOES a lock need two gates", "?!", "?!", ""], 0.9) == [
        0, 0, 2, 2, 4,
    ]  # fmt: skip


def test_what_is_alike_to_something_alike_is_in_its_group_and_blocks_are_no_border() -> None:
    first = text(1)
    chain = [first, changed(first, 3), changed(changed(first, 3)[::-1], 3)[::-1]]
    texts = [" ".join(text(seed, 5)) for seed in range(BLOCK + 10)]
    texts[5], texts[BLOCK + 2], texts[BLOCK + 7] = (" ".join(words) for words in chain)
    found = groups(texts, 0.8)
    assert (found[5], found[BLOCK + 2], found[BLOCK + 7]) == (5, 5, 5)
    assert sum(found[number] != number for number in range(len(texts))) == 2
    assert Likeness(0.5).groups() == []


def test_texts_of_the_same_words_meet_however_many_are_half_like_them() -> None:
    chosen, words = random.Random(7), text(1)
    half = [" ".join("other" if chosen.random() < 0.1 else word for word in words) for _ in range(1500)]
    found = groups([" ".join(words), *half, " ".join(words).upper(), " ".join(changed(words, 1))], 0.8)
    assert found[-2:] == [0, 0]


def call(number: int, question: str, answer: str, tokens: int = 1) -> CallRead:
    """An answered call as it is read."""
    request, response = {"messages": [{"role": "user", "content": question}]}, {"content": answer}
    documents = (orjson.dumps(document) for document in (request, response))
    return CallRead(UUID(int=number), *documents, "none", None, "m", 1, tokens, "stop", None)


def rows(path: Path) -> list[str]:
    """The questions in a file."""
    return [orjson.loads(line)["messages"][0]["content"] for line in path.read_bytes().splitlines()]


def test_rows_nearly_equal_to_one_that_was_taken_are_set_aside(tmp_path: Path) -> None:
    answer = text(3)
    calls = [
        call(1, "Why?", " ".join(changed(answer, 2)), tokens=50),
        call(2, "Why?", " ".join(answer)),
        call(3, "Why?", " ".join(changed(answer, 1))),
        call(4, "Why?", " ".join(answer)),
        call(5, "Why?", " ".join(text(4))),
    ]
    made = write_export(tmp_path / "all", calls, ExportOptions(format="openai-sft"), Moment())
    assert (made.rows, made.set_aside) == (4, {"duplicate": 1})
    options = ExportOptions(format="openai-sft", near=0.8, max_tokens=40)
    made = write_export(tmp_path / "near", calls, options, Moment())
    reasons = {"longer than 40 tokens": 1, "nearly a duplicate": 1, "duplicate": 1}
    assert (made.rows, made.set_aside) == (2, reasons)
    aside = [orjson.loads(line) for line in (tmp_path / "near" / "set-aside.jsonl").read_bytes().splitlines()]
    assert [UUID(row["ids"][0]).int for row in aside] == [1, 3, 4]


def test_an_answer_to_avoid_is_no_duplicate_of_its_correction(tmp_path: Path) -> None:
    given = text(3)
    corrected = call(1, "Why?", " ".join(given))._replace(correction=" ".join(changed(given, 1)))
    made = write_export(tmp_path / "out", [corrected], ExportOptions(format="trl-kto", near=0.8), Moment())
    labels = [orjson.loads(line)["label"] for line in (tmp_path / "out" / "train.jsonl").read_bytes().splitlines()]
    assert (made.rows, made.set_aside, labels) == (2, {}, [True, False])


@pytest.mark.parametrize("likeness", [0.0, 0.8])
def test_prompts_that_are_nearly_equal_are_in_one_file(tmp_path: Path, likeness: float) -> None:
    asked = [(family, version, changed(text(family), version)) for family in range(30) for version in (0, 1)]
    calls = [call(2 * family + version, " ".join(words), f"{family}.{version}") for family, version, words in asked]
    options = ExportOptions(format="openai-sft", test_share=0.5, family_likeness=likeness)
    write_export(tmp_path / "out", calls, options, Moment())
    of = {" ".join(words): family for family, _, words in asked}
    train, test = ({of[asked] for asked in rows(tmp_path / "out" / f"{part}.jsonl")} for part in ("train", "test"))
    assert train | test == set(range(30))
    assert min(len(train), len(test)) > 0
    assert bool(train & test) == (likeness == 0)
