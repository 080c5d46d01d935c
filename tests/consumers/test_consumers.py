"""Exports of real conversations, read back row for row by the libraries that training files are for.

`make consumers` sets up an environment with `datasets`, `trl` and pandas and runs this; without one it is skipped.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from flows.running import run_flow
from flows.training_export import export_training
from schemas.settings import Settings
from tests.conftest import shared_data
from tests.consumers.conversations import Answered, ask_all, read_answers, responder
from tests.flows.commands import PROJECT
from tests.scripted_provider import ScriptedProvider

PYTHON = Path(os.environ.get("CONSUMERS_PYTHON", PROJECT / ".venv-consumers/bin/python"))
FORMATS = ("openai-sft", "openai-dpo", "trl-sft", "trl-dpo", "trl-kto", "sharegpt", "parquet")
MILLION = "🦜 'x' " * 125_000

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason=f"no {PYTHON}: `make consumers` sets it up")


@pytest.fixture
def answers() -> list[Answered]:
    """Real conversations, and some that were made to break readers."""
    found = read_answers(shared_data("conversations"))
    naughty = json.loads((shared_data("weird") / "blns.json").read_text(encoding="utf-8"))
    hostile = [text for text in naughty if text.strip() and "\0" not in text]
    return [
        *found,
        *(Answered([{"role": "user", "content": f"{number}: {text}"}], text) for number, text in enumerate(hostile)),
        Answered([{"role": "user", "content": "A million bytes?"}], MILLION, "positive"),
    ]


@pytest.fixture
def provider(answers: list[Answered]) -> Any:
    """Gives the answers."""
    with ScriptedProvider(respond=responder(answers)) as server:
        yield server


def test_every_format_is_read_back_row_for_row(settings: Settings, answers: list[Answered], tmp_path: Path) -> None:
    asyncio.run(ask_all(answers))
    folders = {chosen: tmp_path / chosen for chosen in FORMATS}
    for chosen, folder in folders.items():
        options = {"format": chosen, "test_share": 0.1, "redact": False, "dedup": False}
        asyncio.run(run_flow(export_training, {"out": str(folder), "options": options}, bare=True))
    found = read_back(tmp_path, folders)
    for chosen, folder in folders.items():
        for part in ("train", "test"):
            rows = our_reading(folder, part)
            told = found[chosen][part]
            assert len(rows) >= 10, (chosen, part)
            assert there(told["datasets"]) == there(rows), (chosen, part)
            assert told["pandas"] == rows, (chosen, part)
            if chosen != "openai-dpo":  # which is no type of TRL's
                assert told["trl"] == [templated(chosen, row) for row in rows], (chosen, part)
    said = {answer for part in ("train", "test") for answer in completions(our_reading(folders["parquet"], part))}
    assert said == {answered.answer for answered in answers}


def read_back(folder: Path, exports: dict[str, Path]) -> Any:
    """What the libraries found, by format and part."""
    script, answer = Path(__file__).with_name("read_back.py"), folder / "answer.json"
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub"), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    given = [f"{chosen}={path}" for chosen, path in exports.items()]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | offline
    done = subprocess.run([PYTHON, script, answer, *given], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(answer.read_text(encoding="utf-8"))


def our_reading(folder: Path, part: str) -> list[Any]:
    """The rows of a file, by the standard library or pyarrow."""
    if (folder / f"{part}.parquet").exists():
        return list(parquet.read_table(folder / f"{part}.parquet").to_pylist())
    return [json.loads(line) for line in (folder / f"{part}.jsonl").read_bytes().split(b"\n") if line]


def there(value: Any) -> Any:
    """The value without members that are None: `datasets` gives every turn the members that one has, as a weight."""
    if isinstance(value, list):
        return [there(member) for member in value]
    if isinstance(value, dict):
        return {name: there(member) for name, member in value.items() if member is not None}
    return value


def completions(rows: list[Any]) -> list[str]:
    """What was answered, in the rows of Parquet."""
    return [row["completion"] for row in rows]


def templated(chosen: str, row: dict[str, Any]) -> dict[str, Any]:
    """The row as a chat template renders it, its name for each member TRL's."""
    if chosen in ("openai-sft", "parquet"):
        return {"text": render(row["messages"])}
    if chosen == "sharegpt":
        turns = [{"role": turn["from"], "content": turn["value"]} for turn in row["conversations"]]
        return {"text": render(turns)}
    rendered = {name: render(row[name], opened=True) for name in ("completion", "chosen", "rejected") if name in row}
    labelled = {"label": row["label"]} if "label" in row else {}
    return {"prompt": render(row["prompt"]) + "<assistant>", **rendered, **labelled}


def render(turns: list[dict[str, str]], *, opened: bool = False) -> str:
    """The turns one after the other; `opened`: the first one's beginning stands at the end of the prompt."""
    whole = "".join(f"<{turn['role']}>{turn['content']}</>" for turn in turns)
    return whole.removeprefix("<assistant>") if opened else whole
