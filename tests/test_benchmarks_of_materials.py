"""The benchmarks of embedding, retrieval and search, small: what they compute, and that each still runs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import chunk_lengths
from benchmarks.chunk_lengths import Embedder, LengthReport, show_lengths, try_length, ways
from benchmarks.embedding import BATCH, changed, compared, documents
from benchmarks.retrieval import measure, ndcg, paired_bootstrap, read_collection, recall, show, try_collection
from benchmarks.search import measure as measure_search
from benchmarks.search import show as show_search
from tests.scripted_provider import ScriptedProvider
from tests.scripted_provider.replies import embed

ROOT = Path(__file__).parents[1]


def test_documents_to_embed_are_the_same_each_time_and_every_hundredth_is_changed() -> None:
    made = documents(250)
    assert made == documents(250)
    assert len({text for _, text in made}) == 250
    assert all(900 < len(text) <= 1000 for _, text in made)
    differing = [place for place, (old, new) in enumerate(zip(made, changed(made), strict=True)) if old != new]
    assert differing == [0, 100, 200]


def test_turns_of_embedding_are_compared_by_medians_of_ratios() -> None:
    bare = [{"contestant": "bare", "first": seconds, "calls": 2} for seconds in (1.0, 10.0, 1.0)]
    own = [{"contestant": "headrace", "first": seconds, "nothing": 0.1, "changed": 0.2, "index": 3.0, "calls": 4}
           for seconds in (2.0, 11.0, 3.0)]  # fmt: skip
    lines = compared([*bare, *own], 2 * BATCH)
    assert lines[0] == "headrace / bare: 2.00 (at most 1.5), index apart: 3.0 s"  # of 2.0, 1.1 and 3.0
    assert lines[3].startswith("calls in all: 4 (4 are needed")  # two batches, the dimensions, one for the 1 %


def embedded(contestant: str, url: str, provider: ScriptedProvider, count: int) -> dict[str, float]:
    """The parts of one turn."""
    turn = ["--turn", contestant, url, provider.url, "--documents", str(count)]
    command = [sys.executable, "-m", "benchmarks.embedding", *turn]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    parts: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return parts


def test_headrace_embeds_in_its_turn_and_asks_for_what_changed_alone(
    database_url: str, provider: ScriptedProvider
) -> None:
    assert set(embedded("headrace", database_url, provider, 150)) == {"first", "index", "nothing", "changed"}
    assert provider.paid == 1 + 2 + 1, "the dimensions, two batches, the two documents that changed"


def test_the_bare_minimum_embeds_in_its_turn(database_url: str, provider: ScriptedProvider) -> None:
    assert set(embedded("bare", database_url, provider, 150)) == {"first"}
    assert provider.paid == 2


def test_gain_is_discounted_by_rank_and_measured_by_the_ideal() -> None:
    relevant = {"a": 2, "b": 1, "c": 0}
    assert ndcg(["a", "b"], relevant) == 1.0
    assert ndcg(["x", "b", "a"], relevant) == pytest.approx((1 / math.log2(3) + 1) / (2 + 1 / math.log2(3)))
    assert (ndcg(["a"], {}), recall(["a"], {})) == (0.0, 0.0)
    assert recall(["x", "b", "a"], relevant, depth=2) == 0.5


def test_an_interval_holds_the_mean_and_of_equal_differences_is_it() -> None:
    assert paired_bootstrap([np.full(5, 0.25), np.full(9, 0.75)]) == (0.5, 0.5)
    low, high = paired_bootstrap([np.array([0.0, 1.0] * 50)])
    assert 0.35 < low < 0.5 < high < 0.65  # 1.96 × 0.05 to either side


def collection(folder: Path) -> Path:
    """Two documents, each of which answers one of the two questions that are judged."""
    folder.mkdir()
    texts = {"d1": ("Heaps", "A heap keeps its smallest key on top."), "d2": ("Trees", "A tree is rotated to balance.")}
    rows = [{"_id": key, "title": title, "text": body} for key, (title, body) in texts.items()]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = [{"_id": "q1", "text": "smallest key of a heap"}, {"_id": "q2", "text": "rotate a tree"},
             {"_id": "q3", "text": "not judged"}]  # fmt: skip
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t2\n")
    return folder


def by_words(texts: Sequence[str]) -> Any:
    """As the scripted provider embeds."""
    return np.array([embed(text, 384) for text in texts], dtype=np.float32)


async def test_a_document_is_found_by_the_best_of_its_chunks(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read_collection(collection(tmp_path / "cranfield"))
    long = [(key, title, f"{body} " + "Of other things. " * 40) for key, title, body in found.documents]
    score = await try_length(database_url, found._replace(documents=long), by_words, ways([64])[1])
    assert (score.tokens, score.overlap, score.words, score.hybrid) == (64, 8, 1.0, 1.0)
    assert 4 <= score.chunks <= 8
    show_lengths(LengthReport(scores=[score]))
    assert capsys.readouterr().out.splitlines()[1].startswith("cranfield        64        8 ")


def test_a_text_is_embedded_once_however_it_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sequence[str]] = []

    def note(texts: Sequence[str], _: Path | None) -> Any:
        asked.append(texts)
        return by_words(texts)

    monkeypatch.setattr(chunk_lengths, "embed_all", note)
    embedder = Embedder(None)
    assert (embedder(["a", "b", "a"]) == by_words(["a", "b", "a"])).all()
    assert (embedder(["c", "a"]) == by_words(["c", "a"])).all()
    assert asked == [["a", "b"], ["c"]]


async def test_a_collection_is_indexed_and_every_way_of_ranking_scored(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = await try_collection(database_url, read_collection(collection(tmp_path / "cranfield")), by_words)
    assert [query.text for query in trial.queries] == ["smallest key of a heap", "rotate a tree"]
    report = measure([trial])
    scores = {score.ranking: (score.ndcg_10, score.recall_100) for score in report.scores}
    assert scores["words"] == scores["hybrid"] == (1.0, 1.0)
    assert set(scores) == {"words", "vectors", "hybrid", "hybrid by ranks"}
    assert report.reached["cranfield: words at least 0.409"]
    show(report)
    assert "MISSED   hybrid above BM25 over both" in capsys.readouterr().out


async def test_a_search_is_timed_part_by_part_and_its_recall_compared(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report = await measure_search(database_url, passages=400, queries=10, share=0.2)
    assert (report.passages, report.queries) == (400, 10)
    assert min(report.recall_10, report.filtered_recall_10) >= 0.95
    assert {part.median_ms <= part.p95_ms for part in report.parts} == {True}
    show_search(report)
    assert "filtered hybrid search" in capsys.readouterr().out
