"""Metrics by embeddings: the formulas by hand, and the pass through the ledger."""

from __future__ import annotations

import math

import numpy
import pytest
from sqlalchemy import Engine, text

from schemas.settings import Settings
from tasks.ledger.session import Ledger
from tasks.sweep.quality.meaning import (
    LONGEST_SENTENCE,
    MEANING_METRICS,
    MOST_SENTENCES,
    meaning_version,
    prompt_coverage,
    score_meaning,
    topic_coherence,
)
from tests.conftest import Environment
from tests.scripted_provider import ScriptedProvider

MODEL = "text-embedding-3-small"
EAST, NORTH, WEST = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)
NORTH_EAST = (math.sqrt(0.5), math.sqrt(0.5))


def rows(*vectors: tuple[float, float]) -> numpy.ndarray:
    return numpy.array(vectors).reshape(-1, 2)


def test_topic_coherence_is_the_mean_cosine_of_neighbours_without_what_is_below_nought() -> None:
    assert topic_coherence(rows(EAST, EAST, NORTH_EAST)) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert topic_coherence(rows(EAST, WEST, WEST)) == pytest.approx((0 + 1) / 2)
    assert [topic_coherence(rows(EAST)), topic_coherence(rows())] == [1.0, 0.0]


def test_prompt_coverage_is_the_mean_over_the_prompt_of_the_nearest_sentence() -> None:
    assert prompt_coverage(rows(EAST, NORTH), rows(WEST, NORTH_EAST)) == pytest.approx(math.sqrt(0.5))
    assert prompt_coverage(rows(EAST, NORTH), rows(WEST)) == 0.0
    assert [prompt_coverage(rows(), rows(EAST)), prompt_coverage(rows(EAST), rows())] == [1.0, 0.0]


async def test_answers_are_scored_by_embeddings_and_again_for_nothing(
    ledger: Ledger, provider: ScriptedProvider, database: Engine
) -> None:
    prompt = "Explain locks. Name a river."
    pairs = [
        (prompt, "Explain locks. Name a river."),
        (prompt, "Bananas ripen quickly."),
        (prompt, ""),
        ("", "Name a river."),
    ]
    same, other, nothing, unasked = await score_meaning(pairs, model=MODEL)
    assert same.version == meaning_version(MODEL) == f"headrace-1+{MODEL}"
    assert same.values["prompt_coverage"] == pytest.approx(1.0)
    assert other.values["prompt_coverage"] < 0.5
    assert (set(nothing.values.values()), nothing.words) == ({0.0}, 0)
    assert (unasked.values, unasked.words, unasked.sentences) == (dict.fromkeys(MEANING_METRICS, 1.0), 3, 1)
    (asked,) = [served.body["input"] for served in provider.log]
    assert asked == ["Explain locks.", "Name a river.", "Bananas ripen quickly."]  # each sentence once
    assert await score_meaning(pairs, model=MODEL) == [same, other, nothing, unasked]
    assert provider.paid == 1
    with database.connect() as connection:
        found = connection.execute(text("SELECT status, purpose FROM llm_requests ORDER BY id")).all()
    assert [tuple(row) for row in found] == [("succeeded", "quality metrics"), ("replayed", "quality metrics")]


async def test_long_texts_are_embedded_in_batches_up_to_a_bound(
    environment: Environment, settings: Settings, provider: ScriptedProvider
) -> None:
    environment(HEADRACE_EMBEDDING_BATCH_ITEMS=200)
    long = "x" * 2 * LONGEST_SENTENCE + ". " + " ".join(f"Gate {number} is shut." for number in range(1000))
    (scores,) = await score_meaning([("Is gate 7 shut?", long)], model=MODEL)
    sizes = [len(served.body["input"]) for served in provider.log]
    assert sorted(sizes) == [101, 200, 200]
    assert sum(sizes) == MOST_SENTENCES + 1
    assert max(len(each) for served in provider.log for each in served.body["input"]) <= LONGEST_SENTENCE
    assert all(0 < value <= 1 for value in scores.values.values())


@pytest.mark.parametrize("strange", ["?!", "a \ud800 b.", "水位很高。闸门关了", "a\0b", "x" * 5000])
async def test_every_answer_has_scores(strange: str, ledger: Ledger, provider: ScriptedProvider) -> None:
    (scores,) = await score_meaning([(strange, strange)], model=MODEL)
    assert set(scores.values) == set(MEANING_METRICS)
    assert all(0.0 <= value <= 1.0 for value in scores.values.values())
    assert bool(scores.words) == bool(provider.log)
