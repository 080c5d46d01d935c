"""Texts that break readers, through every format and back, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from sqlalchemy import Engine

from schemas.settings import Settings
from tests.conftest import shared_data
from tests.flows.conftest import Run
from tests.flows.ledger_calls import Calls

MILLION = {
    "emoji": "👩🏽‍🚀🦜" * 60_000,
    "right to left": "שלום \u202eعالم\u202c " * 60_000,
    "line ends": "\r\n\u2028\u2029\x85\v\f\\n" * 90_000,
}
READ: dict[str, Callable[[Any], list[str]]] = {
    "openai-sft": lambda row: [row["messages"][-1]["content"]],
    "openai-dpo": lambda row: [row["preferred_output"][0]["content"], row["non_preferred_output"][0]["content"]],
    "trl-sft": lambda row: [row["completion"][0]["content"]],
    "trl-dpo": lambda row: [row["chosen"][0]["content"], row["rejected"][0]["content"]],
    "trl-kto": lambda row: [row["completion"][0]["content"]],
    "sharegpt": lambda row: [row["conversations"][-1]["value"]],
    "parquet": lambda row: [row["completion"], row["original"]],
}


@pytest.fixture
def texts(settings: Settings, database: Engine) -> set[str]:
    """What was answered, each text liked, and the same with a mark behind it disliked."""
    naughty = json.loads((shared_data("weird") / "blns.json").read_text(encoding="utf-8"))
    liked = [*(text for text in naughty if text.strip() and "\0" not in text), *MILLION.values()]
    calls = Calls(database)
    for number, text in enumerate(dict.fromkeys(liked)):
        question = f"{number}: {text[:100]}"
        calls.add(question, text, "positive")
        calls.add(question, f"{text}¶", "negative", text)
    return set(liked)


def test_naughty_strings_and_a_million_bytes_come_back_byte_for_byte(
    headrace: Run, texts: set[str], tmp_path: Path
) -> None:
    assert min(len(text.encode()) for text in MILLION.values()) > 1_000_000
    marked = {f"{text}¶" for text in texts}
    for chosen, answers in READ.items():
        out = tmp_path / chosen
        arguments = ("--format", chosen, "--no-redact", "--no-dedup", "--bare")
        assert headrace("export-training", out, *arguments).code == 0
        found = {answer for row in rows(out) for answer in answers(row)}
        assert found == (texts if chosen in ("openai-sft", "trl-sft", "sharegpt") else texts | marked), chosen


def rows(folder: Path) -> list[Any]:
    """The rows of the training file, by the standard library or pyarrow."""
    if (folder / "train.parquet").exists():
        return list(parquet.read_table(folder / "train.parquet").to_pylist())
    return [json.loads(line) for line in (folder / "train.jsonl").read_bytes().decode("utf-8").split("\n") if line]
