"""`headrace export-training`: from rows of the ledger to files, and back with the readers' own eyes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import Engine, text

from schemas.settings import Settings
from tasks.ledger import complete, give_feedback
from tests.flows.commands import PROJECT
from tests.flows.conftest import Look, Run, Start
from tests.flows.ledger_calls import SYSTEM, Calls
from tests.scripted_provider import ScriptedProvider

NAUGHTY = '🦜 \u202eשלום\u202c ‮ Ω≈ç √ \\n "quoted" \t <script> \u2028 ﷽'


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    """A provider of answers that do not matter."""
    with ScriptedProvider() as server:
        yield server


@pytest.fixture
def calls(database: Engine, settings: Settings) -> Calls:
    """An empty ledger to write calls into."""
    return Calls(database)


def lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, each line as the standard library reads it."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def until(there: Callable[[], bool]) -> None:
    """Returns once it is there."""
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline, "it never came"


def content(folder: Path) -> dict[str, bytes]:
    """What every file of an export has in it."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_good_answers_and_corrections_become_messages(headrace: Run, calls: Calls, look: Look, tmp_path: Path) -> None:
    good = calls.add("What is oak?", NAUGHTY, "positive")
    plain = calls.add("What is pine?", "x" * 1_000_000)
    corrected = calls.add("What is elm?", "A bird.", "negative", "A tree.")
    bad = calls.add("What is ash?", "Dirt.", "negative")
    cut = calls.add("What is fir?", "A tr", "positive", finish="length")
    calls.add("What is yew?", None, status="failed")
    calls.add("What is oak?", "A replay.", status="replayed")
    twice = calls.add("What is oak?", NAUGHTY)
    out = tmp_path / "made"
    done = headrace("export-training", out, "--format", "openai-sft", "--bare", "--json")
    assert (done.code, done.json["status"], done.json["manifest"]["rows"]) == (0, "completed", 3)
    assert [row["messages"] for row in lines(out / "train.jsonl")] == [
        [SYSTEM, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        for question, answer in (
            ("What is oak?", NAUGHTY),
            ("What is pine?", "x" * 1_000_000),
            ("What is elm?", "A tree."),
        )
    ]
    assert lines(out / "manifest-rows.jsonl") == [
        {"file": "train.jsonl", "row": number, "ids": [str(made)]}
        for number, made in enumerate((good, plain, corrected), 1)
    ]
    assert {row["ids"][0]: row["reason"] for row in lines(out / "set-aside.jsonl")} == {
        str(bad): "the answer is thought ill of",
        str(cut): "the answer was cut off at the token limit",
        str(twice): "duplicate",
    }
    manifest = json.loads((out / "manifest.json").read_bytes())
    train = (out / "train.jsonl").read_bytes()
    assert manifest["files"]["train.jsonl"]["sha256"] == hashlib.sha256(train).hexdigest()
    assert (manifest["calls"], manifest["files"]["train.jsonl"]["bytes"]) == (6, len(train))
    assert done.json["warnings"] == ["OpenAI wants at least 10 rows, and there are 3"]
    (row,) = look("SELECT * FROM training_exports")
    assert (row["status"], str(row["run_id"]), row["path"]) == ("completed", done.json["run_id"], str(out))
    assert row["manifest_sha256"] == hashlib.sha256((out / "manifest.json").read_bytes()).hexdigest()


def test_the_same_calls_and_options_give_the_same_bytes(headrace: Run, calls: Calls, tmp_path: Path) -> None:
    for number in range(30):
        calls.add(f"Question {number % 20}?", f"Answer {number}", ("positive", "negative", "")[number % 3])
    for chosen in ("openai-sft", "openai-dpo", "trl-sft", "trl-dpo", "trl-kto", "sharegpt", "parquet"):
        first, second = tmp_path / f"{chosen}-1", tmp_path / f"{chosen}-2"
        for out in (first, second):
            assert headrace("export-training", out, "--format", chosen, "--test-share", 0.3, "--bare").code == 0
        assert content(first) == content(second)
        assert json.loads((first / "manifest.json").read_bytes())["rows"] > 0


def test_pairs_come_of_corrections_feedback_and_scores(headrace: Run, calls: Calls, look: Look, tmp_path: Path) -> None:
    liked = calls.add("Rated?", "good", "positive")
    disliked = calls.add("Rated?", "bad", "negative")
    corrected = calls.add("Corrected?", "wrong", "neutral", "right")
    best, near, far = (calls.add("Scored?", f"scored {score}") for score in (0.9, 0.85, 0.4))
    alone = calls.add("Alone?", "one", "positive")
    look("INSERT INTO experiments (id, name, prompt, status, created_at) VALUES ('e', 'e', '', 'completed', now())")
    for name, request, score in (("b", best, 0.9), ("n", near, 0.85), ("f", far, 0.4)):
        look(
            "INSERT INTO responses (id, experiment_id, content, created_at, request_id)"
            " VALUES (:n, 'e', '', now(), :r)",
            n=name,
            r=request,
        )
        look(
            "INSERT INTO quality_metrics (id, response_id, metric, score, analysis_version)"
            " VALUES (:n, :n, 'overall', :s, 'headrace-1')",
            n=name,
            s=score,
        )
    out = tmp_path / "made"
    assert headrace("export-training", out, "--format", "trl-dpo", "--bare").code == 0
    made = {row["prompt"][-1]["content"]: row for row in lines(out / "train.jsonl")}
    said = {question: (row["chosen"][0]["content"], row["rejected"][0]["content"]) for question, row in made.items()}
    assert said == {
        "Rated?": ("good", "bad"),
        "Corrected?": ("right", "wrong"),
        "Scored?": ("scored 0.9", "scored 0.4"),
    }
    assert {tuple(row["ids"]) for row in lines(out / "manifest-rows.jsonl")} == {
        (str(liked), str(disliked)), (str(corrected),), (str(best), str(far))
    }  # fmt: skip
    assert {row["ids"][0] for row in lines(out / "set-aside.jsonl")} == {str(near), str(alone)}
    openai = tmp_path / "openai"
    arguments = ("--format", "openai-dpo", "--pairs", "feedback", "--bare")
    assert headrace("export-training", openai, *arguments).code == 0
    assert lines(openai / "train.jsonl") == [
        {
            "input": {
                "messages": [SYSTEM, {"role": "user", "content": "Rated?"}],
                "tools": [],
                "parallel_tool_calls": True,
            },
            "preferred_output": [{"role": "assistant", "content": "good"}],
            "non_preferred_output": [{"role": "assistant", "content": "bad"}],
        }
    ]


def test_a_prompt_family_is_never_in_both_files(headrace: Run, calls: Calls, tmp_path: Path) -> None:
    for number in range(40):
        calls.add(f"Question {number}?", "one")
        calls.add(f"  question {number} ", "two")
    out = tmp_path / "made"
    assert headrace("export-training", out, "--format", "sharegpt", "--test-share", 0.5, "--bare").code == 0
    asked = {
        part: {row["conversations"][1]["value"].strip(" ?").lower() for row in lines(out / f"{part}.jsonl")}
        for part in ("train", "test")
    }
    assert asked["train"] | asked["test"] == {f"question {number}" for number in range(40)}
    assert asked["train"] & asked["test"] == set()
    assert asked["test"]


def test_personal_data_is_replaced_and_counted_unless_told_otherwise(
    headrace: Run, calls: Calls, tmp_path: Path
) -> None:
    calls.add("I am ada@example.org, call +1 415 555 2671", "Card 4111 1111 1111 1111, key sk-abcdefghijklmnopqrst.")
    kept, out = tmp_path / "kept", tmp_path / "out"
    done = headrace("export-training", out, "--format", "trl-sft", "--bare", "--json").json
    (row,) = lines(out / "train.jsonl")
    assert row["prompt"][1]["content"] == "I am [EMAIL], call [PHONE]"
    assert row["completion"] == [{"role": "assistant", "content": "Card [CARD], key [KEY]."}]
    assert done["manifest"]["redacted"] == {"card": 1, "email": 1, "key": 1, "phone": 1}
    assert headrace("export-training", kept, "--format", "trl-sft", "--no-redact", "--bare").code == 0
    assert lines(kept / "train.jsonl")[0]["prompt"][1]["content"] == "I am ada@example.org, call +1 415 555 2671"


def test_filters_and_the_limit_of_tokens_choose_the_rows(headrace: Run, calls: Calls, tmp_path: Path) -> None:
    wanted = calls.add("Wanted?", "yes", "positive", model="small")
    calls.add("Other model?", "no", "positive", model="large")
    calls.add("Other project?", "no", "positive", model="small", project="forum")
    calls.add("Unrated?", "no", model="small")
    out, short = tmp_path / "made", tmp_path / "short"
    chosen = ("--format", "trl-kto", "--project", "shop", "--model", "small", "--opinion", "positive", "--bare")
    assert headrace("export-training", out, *chosen, "--since", "2020-01-01").code == 0
    assert [row["ids"] for row in lines(out / "manifest-rows.jsonl")] == [[str(wanted)]]
    assert lines(out / "train.jsonl")[0]["label"] is True
    assert "longer than 41 tokens" in headrace("export-training", short, *chosen, "--max-tokens", 41).out
    assert (short / "train.jsonl").read_bytes() == b""


def test_parquet_has_every_call_with_what_was_thought_of_it(headrace: Run, calls: Calls, tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    calls.add("Why?", NAUGHTY, "negative", "Because.")
    structured = calls.add("JSON?", '{"a": 1}', schema={"type": "object", "required": ["a"]})
    broken = calls.add("JSON!", '{"b": 1}', schema={"type": "object", "required": ["a"]})
    out = tmp_path / "made"
    assert headrace("export-training", out, "--format", "parquet", "--bare").code == 0
    rows = parquet.read_table(out / "train.parquet").to_pylist()
    assert [(row["completion"], row["original"], row["opinion"], row["corrected"]) for row in rows] == [
        ("Because.", NAUGHTY, "negative", True),
        ('{"a": 1}', '{"a": 1}', "none", False),
    ]
    assert (rows[1]["id"], rows[1]["tokens"], rows[1]["weights"]) == (str(structured), 42, [0, 0, 1])
    assert lines(out / "set-aside.jsonl") == [{"ids": [str(broken)], "reason": "the answer does not fit its schema"}]


def test_what_an_application_said_of_a_replay_counts_for_the_answer(
    headrace: Run, calls: Calls, look: Look, tmp_path: Path
) -> None:
    answered, replay = calls.add("Why?", "Because."), calls.add("Why?", "Because.", status="replayed")
    look("UPDATE llm_requests SET replayed_from = :answered WHERE id = :replay", answered=answered, replay=replay)
    look("INSERT INTO feedback (response_id, user_id, rating) VALUES (:id, 'bob', 'negative')", id=replay)
    out = tmp_path / "made"
    assert headrace("export-training", out, "--format", "trl-kto", "--bare").code == 0
    assert [row["label"] for row in lines(out / "train.jsonl")] == [False]
    assert lines(out / "manifest-rows.jsonl")[0]["ids"] == [str(answered)]


def test_calls_of_which_it_is_not_known_when_they_ended_are_exported(
    headrace: Run, calls: Calls, look: Look, tmp_path: Path
) -> None:
    calls.add("Why?", "Because.")
    look("UPDATE llm_requests SET completed_at = NULL")  # as of calls that were migrated
    out = tmp_path / "made"
    assert headrace("export-training", out, "--format", "sharegpt", "--bare", "--json").json["manifest"]["rows"] == 1


def test_a_division_that_leaves_one_file_empty_is_warned_of(headrace: Run, calls: Calls, tmp_path: Path) -> None:
    for number in range(3):
        calls.add("Why?", f"Because of {number}.")
    made = ("--format", "trl-sft", "--test-share", 0.5, "--bare", "--json")
    warnings = headrace("export-training", tmp_path / "made", *made).json["warnings"]
    assert warnings == [
        "all 3 rows are in one file: the prompts are few families, "
        "which --family-likeness 0 divides by their words alone"
    ]


def test_what_cannot_be_is_refused_by_name(headrace: Run, calls: Calls, tmp_path: Path) -> None:
    region = headrace("export-training", tmp_path / "made", "--format", "trl-sft", "--phone-region", "xx", "--bare")
    assert (region.code, "XX is no region with phone numbers" in region.reason) == (2, True)
    long = headrace("export-training", tmp_path / ("x" * 300), "--format", "trl-sft", "--bare")
    assert (long.code, "cannot be written: File name too long" in long.reason) == (2, True)


def test_a_folder_that_is_there_is_left_alone(headrace: Run, calls: Calls, tmp_path: Path) -> None:
    calls.add("Why?", "Because.")
    out = tmp_path / "made"
    out.mkdir()
    (out / "mine").write_text("mine")
    refused = headrace("export-training", out, "--format", "trl-sft", "--bare")
    assert (refused.code, "is there already" in refused.reason) == (2, True)
    assert content(out) == {"mine": b"mine"}


def test_what_was_killed_leaves_nothing_that_looks_finished_and_is_completed_to_the_same_bytes(
    headrace: Run, start: Start, calls: Calls, database: Engine, look: Look, tmp_path: Path
) -> None:
    for number in range(20):
        calls.add(f"Question {number}?", f"Answer {number}", "positive")
    whole, out = tmp_path / "whole", tmp_path / "made"
    assert headrace("export-training", whole, "--format", "openai-sft", "--bare").code == 0
    partial = tmp_path / ".made.partial"
    with database.begin() as connection:
        connection.execute(text("LOCK TABLE feedback"))  # so that it stands still while it reads
        process = start("export-training", out, "--format", "openai-sft", "--bare")
        until(lambda: (partial / "train.jsonl").exists())
        assert process.kill().code == -signal.SIGKILL
    assert not out.exists()
    calls.add("Later?", "too late", "positive")
    (run,) = look("SELECT run_id FROM training_exports WHERE status = 'running'")
    resumed = headrace("resume", run["run_id"], "--bare")
    assert resumed.code == 0
    assert content(out) == content(whole)
    assert not partial.exists()
    assert len(look("SELECT * FROM training_exports WHERE status = 'completed'")) == 2


def test_a_call_of_an_application_is_exported_as_it_was_made(headrace: Run, settings: Settings, tmp_path: Path) -> None:
    made = asyncio.run(complete("Why, ada?", model="gpt-4o-mini", user="ada"))
    asyncio.run(give_feedback(made.request_id, "negative", user="ada", correction="Because."))
    out = tmp_path / "made"
    assert headrace("export-training", out, "--format", "trl-dpo", "--bare").code == 0
    assert lines(out / "train.jsonl") == [
        {
            "prompt": [{"role": "user", "content": "Why, ada?"}],
            "chosen": [{"role": "assistant", "content": "Because."}],
            "rejected": [{"role": "assistant", "content": made.text}],
        }
    ]


def test_the_deployment_stands_in_prefect_yaml() -> None:
    deployments = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
    entry = {made["name"]: made["entrypoint"] for made in deployments}["export-training-data"]
    assert entry == "flows/training_export.py:export_training"


def test_the_form_has_the_options_in_the_order_of_the_class() -> None:
    from prefect.utilities.callables import parameter_schema

    from flows.training_export import export_training
    from schemas.training import ExportOptions

    fields = parameter_schema(export_training).definitions["ExportOptions"]["properties"]
    placed = sorted(fields, key=lambda name: fields[name]["position"])
    assert placed == list(ExportOptions.model_fields)
