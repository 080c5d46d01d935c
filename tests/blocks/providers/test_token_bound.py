"""The bound on a call's tokens, held against real vocabularies."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blocks.providers.token_bound import count_call_tokens, count_text_tokens
from schemas.calls import EmbeddingCall
from tests.blocks.providers.conftest import ask

BILLS = Path(__file__).parents[3] / "../shared/data/bills"
TEXTS = {
    "prose": "The department shall adopt rules to carry out this section not later than one year after its date. ",
    "capitals": "NOTWITHSTANDING ANY PROVISION OF LAW TO THE CONTRARY, THE COMMISSIONER SHALL PROMULGATE REGULATIONS. ",
    "short words": "if it is so, we go on to do as he or she is to be at it. ",
    "german": "Grundstücksverkehrsgenehmigungszuständigkeiten werden durch Rechtsverordnung des Landes übertragen. ",
    "russian": "Правительство уполномочено принимать постановления о порядке предоставления жилья гражданам. ",
    "chinese": "政府有权颁布关于向有需要的公民提供住房的程序的法令。",
    "numbers": "12,345.67\t89\t-4.2e5\n0,1,2,3,4,5\n",
    "markup": '<p class="x">§ 4. <em>“Fee”</em></p>\n',
    "emoji": "👍🏽 agreed 🎉 ",
    "json": '{"who":"tenants","amounts":[1,20,300],"ok":true,"note":null}',
}


@pytest.fixture(scope="module")
def tokenizers() -> Iterator[dict[str, Callable[[str], int]]]:
    tiktoken = pytest.importorskip("tiktoken")
    from tokenizers import Tokenizer

    found = importlib.util.find_spec("litellm")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "litellm_core_utils" / "tokenizers"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
        gpt4, gpt4o = tiktoken.get_encoding("cl100k_base"), tiktoken.get_encoding("o200k_base")
        claude = Tokenizer.from_file(str(folder / "anthropic_tokenizer.json"))
        yield {
            "cl100k": lambda text: len(gpt4.encode(text, disallowed_special=())),
            "o200k": lambda text: len(gpt4o.encode(text, disallowed_special=())),
            "claude": lambda text: len(claude.encode(text).ids),
        }


@pytest.mark.parametrize("name", TEXTS)
def test_ordinary_text_never_has_more_tokens_than_the_bound(
    name: str, tokenizers: dict[str, Callable[[str], int]]
) -> None:
    text = TEXTS[name] * 20
    assert max(count(text) for count in tokenizers.values()) <= count_text_tokens(text)


def test_the_bound_holds_for_every_bill_and_is_at_most_two_and_a_quarter_times_the_count(
    tokenizers: dict[str, Callable[[str], int]],
) -> None:
    if not BILLS.is_dir():
        pytest.skip("the bills of ../shared/data are not here")
    for path in sorted(BILLS.glob("*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")[:40_000]
        counts = [count(text) for count in tokenizers.values()]
        assert max(counts) <= count_text_tokens(text) <= 2.25 * max(counts), path.name


def test_a_call_counts_its_turns_and_its_schema() -> None:
    plain = count_call_tokens(ask("one two three"))
    assert plain == 16 + 8 + 4  # eleven small letters: four pieces
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert count_call_tokens(ask("one two three", output_schema=schema)) > plain + 20


def test_an_embedding_call_counts_every_text() -> None:
    assert count_call_tokens(EmbeddingCall(model="m", texts=("abc", "abcd", ""))) == (2 + 1) + (2 + 2) + 2


def test_an_embedding_call_whose_texts_were_counted_is_not_counted_again() -> None:
    counted = EmbeddingCall(model="m", texts=("abc", "abcd"), most_tokens=11)
    assert count_call_tokens(counted) == 11
    assert counted.model_dump() == EmbeddingCall(model="m", texts=("abc", "abcd")).model_dump()  # its key is the same
