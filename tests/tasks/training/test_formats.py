"""What readers of each format would refuse, and files read back before they are called done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from schemas.choices import ExportFormat
from schemas.errors import BadInput, DatabaseUnavailable, ExpectationFailed
from schemas.training import ExportOptions
from tasks.training.checking import check_file
from tasks.training.choosing import is_for_testing
from tasks.training.examples import example_of, family_of
from tasks.training.formats import Row, fault_in, rows_of
from tasks.training.reading import CallRead
from tasks.training.writing import Moment, Stopped, write_export

USER = {"role": "user", "content": "Why?"}
SAID = {"role": "assistant", "content": "Because."}
EMPTY = {"role": "assistant", "content": " "}
HUMAN, GPT = {"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}


@pytest.mark.parametrize(
    ("chosen", "record", "fault"),
    [
        ("openai-sft", {"messages": [USER, SAID]}, None),
        ("openai-sft", {"messages": [USER]}, "the last message is not of the assistant"),
        ("openai-sft", {"messages": []}, "the last message is not of the assistant"),
        ("openai-sft", {"messages": [USER, EMPTY]}, "message 2, of the assistant, is empty"),
        ("openai-sft", {"messages": [{"role": "bot", "content": "Hi"}, SAID]}, "message 1 has no role of"),
        ("openai-sft", {"messages": [{"role": "user", "content": None}, SAID]}, "message 1 has no role of"),
        ("trl-sft", {"prompt": [USER], "completion": [SAID]}, None),
        ("trl-sft", {"prompt": [USER, SAID], "completion": [SAID]}, "the last message is not of the user"),
        ("trl-dpo", {"prompt": [USER], "chosen": [SAID], "rejected": [SAID]}, "both answers are the same"),
        ("trl-kto", {"prompt": [USER], "completion": [SAID], "label": "yes"}, "the label is neither true nor false"),
        ("trl-kto", {"prompt": [USER], "completion": [SAID], "label": False}, None),
        ("sharegpt", {"conversations": [{"from": "system", "value": "Be brief."}, HUMAN, GPT]}, None),
        ("sharegpt", {"conversations": [HUMAN, HUMAN, GPT]}, "human and gpt do not speak by turns"),
        ("sharegpt", {"conversations": [HUMAN, {"from": "system", "value": ""}, GPT]}, "the system speaks after"),
        ("parquet", {"messages": [SAID, USER]}, "the last message is not of the assistant"),
    ],
)
def test_a_row_s_fault_is_told(chosen: ExportFormat, record: dict[str, Any], fault: str | None) -> None:
    found = fault_in(record, chosen)
    assert found == fault if fault is None else found is not None and found.startswith(fault)


def test_an_openai_pair_with_equal_answers_is_refused() -> None:
    record = {"input": {"messages": [USER]}, "preferred_output": [SAID], "non_preferred_output": [SAID]}
    assert fault_in(record, "openai-dpo") == "both answers are the same"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            b'{"messages": [{"role": "user", "content": "Why?"}]}',
            "row 2 of train.jsonl: the last message is not of the",
        ),
        (b'{"message": 1}', "row 2 of train.jsonl: it is no row of openai-sft"),
        (b'{"messages": [1]}', "row 2 of train.jsonl: it is no row of openai-sft"),
        (b'{"messages', "row 2 of train.jsonl is no JSON"),
    ],
)
def test_the_offending_row_of_a_file_is_named(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "train.jsonl"
    good = orjson.dumps({"messages": [USER, SAID]})
    path.write_bytes(good + b"\n" + line + b"\n")
    with pytest.raises(ExpectationFailed, match=reason):
        check_file(path, "openai-sft", 2)
    path.write_bytes(good + b"\n")
    with pytest.raises(ExpectationFailed, match=r"train\.jsonl has 1 rows instead of 2"):
        check_file(path, "openai-sft", 2)


def call(messages: object = (USER,), answer: object = "Because.", **more: Any) -> CallRead:
    """A call as it is read."""
    known = {"opinion": "none", "correction": None, "model": "m", "input_tokens": 3, "output_tokens": 2}
    schema = more.pop("output_schema", None)
    known |= {"finish_reason": "stop", "score": None} | more
    request = {"messages": messages, "output_schema": schema}
    return CallRead(UUID(int=1), orjson.dumps(request), orjson.dumps({"content": answer}), **known)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (call([]), "the prompt is not text"),
        (call([{"role": "user", "content": [{"type": "image_url"}]}]), "the prompt is not text"),
        (call([{"role": "tool", "content": "x"}]), "the prompt is not text"),
        (call([USER, SAID]), "the prompt does not end with the user"),
        (call(answer=None), "the answer is not text"),
        (call(answer=" \n"), "the answer is empty"),
        (call(finish_reason="length"), "the answer was cut off at the token limit"),
        (call(answer="{", output_schema={}), "the answer does not fit its schema"),
        (call(answer="[]", output_schema={"required": ["a"]}), "the answer does not fit its schema"),
    ],
)
def test_why_a_call_is_no_example_is_told(made: CallRead, reason: str) -> None:
    assert example_of(made) == reason


def test_tokens_are_the_provider_s_count_unless_the_answer_was_corrected() -> None:
    counted, corrected = example_of(call()), example_of(call(correction="Since.", finish_reason="length"))
    assert not isinstance(counted, str)
    assert not isinstance(corrected, str)
    assert (counted.tokens, counted.corrected) == (5, False)
    assert (corrected.answer, corrected.given, corrected.corrected) == ("Since.", "Because.", True)


def test_each_of_two_judged_answers_has_its_own_tokens(tmp_path: Path) -> None:
    long = call(answer="because " * 500, correction="Because.")
    made = write_export(tmp_path / "out", [long], ExportOptions(format="trl-kto", max_tokens=50), Moment())
    assert (made.rows, made.set_aside) == (1, {"longer than 50 tokens": 1})


def test_answers_given_before_are_read_and_not_learned() -> None:
    example = example_of(call([USER, {"role": "assistant", "content": "Bad."}, USER]))
    assert not isinstance(example, str)
    (row,) = rows_of(example, ExportOptions(format="openai-sft"))
    assert isinstance(row, Row)
    assert row.record["messages"] == [USER, {"role": "assistant", "content": "Bad.", "weight": 0}, USER, SAID]
    assert fault_in(row.record, "openai-sft") is None
    (row,) = rows_of(example, ExportOptions(format="trl-sft"))
    assert (row.record["prompt"], row.record["completion"]) == ([*example.prompt], [SAID])
    (row,) = rows_of(example, ExportOptions(format="parquet"))
    assert (len(row.record["messages"]), row.record["weights"]) == (4, [0, 0, 0, 1])


def test_a_fence_around_json_is_overlooked_as_the_gateway_does() -> None:
    fenced = '```json\n{"a": 1}\n```'
    example = example_of(call(answer=fenced, output_schema={"required": ["a"]}))
    assert not isinstance(example, str)
    assert example.answer == fenced
    assert example_of(call(answer=fenced, output_schema={"required": ["b"]})) == "the answer does not fit its schema"


def test_case_and_signs_do_not_part_a_family() -> None:
    system = {"role": "system", "content": "Be brief."}
    asked = [[system, {"role": "user", "content": text}] for text in ("Why, though?", " WHY though", "ｗｈｙ_though!")]
    assert {family_of(prompt) for prompt in asked} == {"why though"}
    assert family_of([{"role": "user", "content": "?!"}]) == "?!"
    assert not is_for_testing(asked[0], 0, "")
    assert len({is_for_testing([{"role": "user", "content": str(n)}], 0.5, "") for n in range(50)}) == 2


def test_redaction_that_would_break_json_sets_the_call_aside(tmp_path: Path) -> None:
    broken = call(answer='{"phone": 4155552671}', output_schema={})
    manifest = write_export(tmp_path / "out", [broken], ExportOptions(format="trl-sft"), Moment())
    assert manifest.set_aside == {"redaction would break the JSON of the answer": 1}


def test_an_export_that_was_renamed_before_it_was_killed_stays(tmp_path: Path) -> None:
    options = ExportOptions(format="sharegpt")
    progress = Moment()
    first = write_export(tmp_path / "out", [call(), call([USER, USER])], options, progress)
    assert str(progress.now()) == "2 calls read, 1 rows written"
    assert first.set_aside == {"sharegpt: human and gpt do not speak by turns": 1}
    assert write_export(tmp_path / "out", [call(), call([USER, USER])], options, Moment()) == first
    with pytest.raises(BadInput, match="is there already"):
        write_export(tmp_path / "out", [call()], options, Moment())
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        write_export(tmp_path / "file" / "out", [call()], options, Moment())


@pytest.mark.parametrize("chosen", ["trl-sft", "parquet"])
def test_an_export_that_ends_with_an_error_leaves_nothing(tmp_path: Path, chosen: ExportFormat) -> None:
    progress = Moment()

    def lost() -> Iterator[CallRead]:
        yield call()
        raise DatabaseUnavailable("the connection was lost")

    def stopped() -> Iterator[CallRead]:
        yield call()
        progress.stop()
        yield call(answer="Other.")

    def replaced() -> Iterator[CallRead]:
        yield call()
        (tmp_path / "out").mkdir()

    options = ExportOptions(format=chosen)
    for calls, error in ((lost, DatabaseUnavailable), (stopped, Stopped), (replaced, BadInput)):
        with pytest.raises(error):
            write_export(tmp_path / "out", calls(), options, progress if calls is stopped else Moment())
        assert not (tmp_path / ".out.partial").exists()


def test_two_exports_are_never_written_into_one_folder(tmp_path: Path) -> None:
    options = ExportOptions(format="trl-sft")

    def calls() -> Iterator[CallRead]:
        yield call()
        with pytest.raises(BadInput, match=r"another export is being written into .*\.out\.partial"):
            write_export(tmp_path / "out", [call(answer="Other.")], options, Moment())

    assert write_export(tmp_path / "out", calls(), options, Moment()).rows == 1
    assert b"Because." in (tmp_path / "out" / "train.jsonl").read_bytes()
