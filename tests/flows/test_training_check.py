"""`headrace check-training`, and exports that have to fit a model."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
from sqlalchemy import Engine

from schemas.settings import Settings
from tests.flows.conftest import Run
from tests.flows.ledger_calls import Calls

ROW = {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]}


def test_a_file_without_a_fault_is_counted_and_few_rows_are_warned_of(headrace: Run, tmp_path: Path) -> None:
    file = tmp_path / "edited.jsonl"
    file.write_text(f"{json.dumps(ROW)}\n" * 9)
    done = headrace("check-training", file, "--format", "openai-sft")
    assert done.code == 0
    assert "edited.jsonl: 9 rows, each as openai-sft wants it" in done.out
    assert "warning: OpenAI wants at least 10 rows, and there are 9" in done.out
    file.write_text(f"{json.dumps(ROW)}\n" * 10)
    told = headrace("check-training", file, "--format", "openai-sft", "--json").json
    assert (told["rows"], told["warnings"], told["status"]) == (10, [], "completed")


def test_the_row_at_fault_is_named(headrace: Run, tmp_path: Path) -> None:
    file = tmp_path / "edited.jsonl"
    file.write_text(f"{json.dumps(ROW)}\n" + json.dumps({"messages": [*ROW["messages"], {"role": "user"}]}) + "\n")
    refused = headrace("check-training", file, "--format", "openai-sft")
    assert (refused.code, "row 2 of edited.jsonl: message 3 has no role of" in refused.reason) == (1, True)
    assert headrace("check-training", tmp_path / "none.jsonl", "--format", "trl-sft").code == 2
    assert headrace("check-training", file, "--format", "parquet").code == 2
    table = tmp_path / "made.parquet"
    parquet.write_table(pyarrow.table({"messages": [[{"role": "user", "content": "Why?"}]]}), table)
    assert "row 1 of made.parquet" in headrace("check-training", table, "--format", "parquet").reason


def test_rows_beyond_the_context_of_a_model_are_set_aside(
    headrace: Run, settings: Settings, database: Engine, tmp_path: Path
) -> None:
    calls = Calls(database)
    calls.add("Short?", "Yes.")
    calls.add("Long?", "No.", "negative", "word " * 200_000)  # gpt-4o-mini takes 128,000 tokens
    out, none = tmp_path / "made", tmp_path / "none"
    done = headrace("export-training", out, "--format", "trl-sft", "--fits", "gpt-4o-mini", "--bare", "--json").json
    assert done["manifest"]["set_aside"] == {"longer than 128000 tokens": 1}
    assert (done["manifest"]["options"]["max_tokens"], done["manifest"]["rows"]) == (128_000, 1)
    unknown = headrace("export-training", none, "--format", "trl-sft", "--fits", "openai/nobody-knows", "--bare")
    assert (unknown.code, "the context of openai/nobody-knows is not known" in unknown.reason) == (2, True)
