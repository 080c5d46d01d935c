"""The benchmark of the quality metrics: how it compares, and that it still runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import (
    OURS,
    RIVALS,
    Pair,
    agreements,
    clustered_bootstrap,
    read_pandalm,
    run,
    scorers,
    show,
)
from tasks.sweep.quality import metrics
from tests.conftest import shared_data


def row(instruction: str, *verdicts: int) -> dict[str, object]:
    people = {f"annotator{number}": verdict for number, verdict in enumerate(verdicts, 1)}
    return {"instruction": instruction, "input": "", "response1": "one", "response2": "two", **people}


def test_the_majority_of_three_is_what_people_prefer_and_ties_are_left_out(tmp_path: Path) -> None:
    rows = [row("a", 1, 1, 2), row("b", 2, 0, 2), row("c", 0, 0, 1), row("d", 0, 1, 2)]
    path = tmp_path / "comparisons.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert read_pandalm(path) == [Pair("a", "one", "two"), Pair("b", "two", "one")]


def test_a_hit_is_one_and_equal_scores_are_half() -> None:
    pairs = [Pair("", "long", "no"), Pair("", "no", "long"), Pair("", "one", "two")]
    assert agreements(lambda _, answer: len(answer), pairs).tolist() == [1.0, 0.0, 0.5]


def test_pairs_of_one_prompt_are_drawn_together() -> None:
    values = np.array([1.0, 1.0, 0.0, 0.0])
    assert clustered_bootstrap(values, ["a", "a", "b", "b"]) == (0.0, 1.0)
    low, high = clustered_bootstrap(np.tile(values, 100), [str(number) for number in range(400)])
    assert (low, high) == pytest.approx((0.45, 0.55), abs=0.01)  # 0.5 ± 1.96 · 0.5 / √400


def test_another_scale_is_for_one_score_only() -> None:
    among = scorers()
    prompt, answer = "Explain locks.", "Chambers between gates raise boats from one level to another."
    usual, tried = (among[name](prompt, answer) for name in (OURS, f"{OURS}, new words on a scale of 20"))
    assert tried > usual == among[f"{OURS}, new words on a scale of 40"](prompt, answer)
    assert metrics.NEW_WORDS == 40


def test_ours_beats_the_older_generations_and_length_on_what_people_prefer(capsys: pytest.CaptureFixture[str]) -> None:
    report = run(shared_data("conversations"), meaning=False)
    assert list(report.pairs.values()) == [380, 93]
    assert len(report.reached) == len(RIVALS)
    assert all(report.reached.values())
    show(report)
    said = capsys.readouterr().out
    assert "Fitted: nothing" in said
    assert said.count("ours above") == 3 * len(RIVALS)
