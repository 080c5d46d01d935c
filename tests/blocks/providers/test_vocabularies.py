"""Tokens by the model's own vocabulary, which LiteLLM brings, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.providers.token_bound import count_text_tokens
from blocks.providers.vocabularies import CACHE, PIECE, token_counter


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No counter is known from elsewhere, nor here afterwards."""
    token_counter.cache_clear()
    yield
    token_counter.cache_clear()


@pytest.mark.parametrize(
    ("model", "tokens"), [("gpt-4", 5), ("openai/gpt-4o-mini", 5), ("ft:gpt-4o-mini-2024-07-18:acme::abc", 5)]
)
def test_openai_s_models_have_their_own_vocabulary(model: str, tokens: int) -> None:
    assert token_counter(model)("a lock has two gates") == tokens
    assert token_counter(model)("") == 0


def test_other_models_and_missing_vocabularies_have_the_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert token_counter("local/chat") is count_text_tokens
    monkeypatch.setenv(CACHE, str(tmp_path))
    assert token_counter("gpt-4o") is count_text_tokens


@pytest.mark.parametrize("text", ["a" * 100_000, " " * 100_000, "<|endoftext|>", "\ud800 half", "🦜\u202e" * 10_000])
def test_hostile_texts_are_counted(text: str) -> None:
    assert 0 < token_counter("gpt-4o")(text) <= len(text.encode("utf-8", "replace")) + len(text) // PIECE
