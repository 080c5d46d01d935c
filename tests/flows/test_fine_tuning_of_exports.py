"""`headrace fine-tune` given an export: its file is found, and the model's lineage says which export it was."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.conftest import Environment
from tests.flows.conftest import Look, Run
from tests.flows.ledger_calls import Calls
from tests.scripted_fine_tuning import API_KEY, ScriptedFineTuning

BASE = "gpt-4o-mini-2024-07-18"


@pytest.fixture
def service(environment: Environment, database_url: str) -> Iterator[ScriptedFineTuning]:
    """The provider that the commands use."""
    with ScriptedFineTuning() as server:
        environment(DATABASE_URL=database_url, OPENAI_API_KEY=API_KEY, OPENAI_BASE_URL=server.url)
        yield server


@pytest.fixture
def export(service: ScriptedFineTuning, headrace: Run, database: Engine, tmp_path: Path) -> tuple[str, Path]:
    """Id and folder of an export of three rows."""
    calls = Calls(database)
    for number in range(3):
        calls.add(f"Question {number}?", f"Answer {number}", "positive")
    folder = tmp_path / "made"
    done = headrace("export-training", folder, "--format", "openai-sft", "--bare", "--json")
    return done.json["run_id"], folder


def tuned(training: object, *more: object) -> list[object]:
    """The command for what is given as the file."""
    return ["fine-tune", training, "--purpose", "radar", "--base", BASE, "--poll-seconds", "0.01", "--bare", *more]


@pytest.mark.parametrize("by", ["id", "folder", "file"])
def test_the_lineage_of_a_model_says_which_export_it_learned_from(
    headrace: Run, service: ScriptedFineTuning, export: tuple[str, Path], look: Look, by: str
) -> None:
    export_id, folder = export
    given = {"id": export_id, "folder": folder, "file": folder / "train.jsonl"}[by]
    done = headrace(*tuned(given, "--json"))
    assert done.code == 0, done.err
    assert done.json["training_file"] == str(folder / "train.jsonl")
    assert service.files == {"file-1": (folder / "train.jsonl").read_bytes()}
    (version,) = look("SELECT * FROM model_versions")
    assert (version["export_id"], version["training_rows"], version["base_model"]) == (export_id, 3, BASE)


@pytest.mark.parametrize("by", ["id", "folder", "file"])
def test_a_version_that_is_registered_by_hand_is_traced_as_well(
    headrace: Run, export: tuple[str, Path], look: Look, by: str
) -> None:
    export_id, folder = export
    given = {"id": export_id, "folder": folder, "file": folder / "train.jsonl"}[by]
    assert headrace("versions", "register", "radar", "ft:x", "--training-file", given, "--base", BASE).code == 0
    told = ("--training-file", given, "--export", "elsewhere")
    assert headrace("versions", "register", "radar", "ft:x", *told).code == 0
    assert look("SELECT export_id, training_rows, training_path, base_model FROM model_versions ORDER BY number") == [
        {"export_id": made, "training_rows": 3, "training_path": str(folder / "train.jsonl"), "base_model": base}
        for made, base in ((export_id, BASE), ("elsewhere", None))
    ]


def test_a_file_that_was_changed_since_is_of_no_export(headrace: Run, export: tuple[str, Path], look: Look) -> None:
    file = export[1] / "train.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:2]))
    assert headrace(*tuned(file)).code == 0
    (version,) = look("SELECT * FROM model_versions")
    assert (version["export_id"], version["training_rows"]) == (None, 2)


def test_an_export_for_something_else_is_refused_before_anything_is_sent(
    headrace: Run, service: ScriptedFineTuning, export: tuple[str, Path], look: Look
) -> None:
    refused = headrace(*tuned(export[1], "--method", "dpo"))
    assert (refused.code, "was exported as openai-sft, and dpo wants openai-dpo" in refused.reason) == (2, True)
    missing = headrace(*tuned(uuid.UUID(int=7)))
    assert (missing.code, "there is no training export" in missing.reason) == (2, True)
    look("UPDATE training_exports SET status = 'running', completed_at = NULL")
    unfinished = headrace(*tuned(export[0]))
    assert (unfinished.code, f"headrace resume {export[0]}" in unfinished.reason) == (2, True)
    assert (service.files, service.jobs) == ({}, {})
