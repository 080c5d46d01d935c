"""What images and rankings cost, and the most they can."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.providers.image_prices import image_cost, image_worst_case
from blocks.providers.openai_images import image_body, read_image_usage
from blocks.providers.openai_requests import COMPATIBLE, OPENAI
from blocks.providers.rerank_prices import count_rerank_tokens, rerank_cost, rerank_worst_case
from schemas.calls import ImageCall, ModelInfo, RerankCall, Usage
from schemas.named_models import TokenPrice


def model(name: str, provider: str, **more: Any) -> ModelInfo:
    return ModelInfo(model=name, provider=provider, identity="", **more)


def image(name: str, **more: Any) -> ImageCall:
    return ImageCall(model=name, prompt="a mill", **more)


@pytest.mark.parametrize(
    ("name", "provider", "asked", "usd"),
    [
        # by the image, whatever its size
        ("aiml/flux-pro", "aiml", {"n": 2}, Decimal("0.13")),
        # quality and size in the row's name, priced by the point
        ("azure/dall-e-3", "azure", {"size": "1024x1024", "quality": "hd"}, Decimal("8.39233e-08") * 1024 * 1024),
        ("azure/dall-e-3", "azure", {"size": "1024x1024", "quality": "standard"}, Decimal("4.19617e-08") * 1024 * 1024),
        # what the call leaves open costs the most there is
        ("azure/dall-e-3", "azure", {"quality": "standard", "size": "auto"}, Decimal("4.79562e-08") * 1024 * 1792),
        # steps before the model's name
        ("bedrock/amazon.nova-canvas-v1:0", "bedrock", {"size": "1024x1024"}, Decimal("0.06")),
        # a price of zero is none
        ("azure/dall-e-2", "azure", {}, None),
        ("dashscope/qwen-image-3.0", "dashscope", {}, None),
        ("flux", "openai", {}, None),
    ],
)  # fmt: skip
def test_images_are_priced_by_the_row_that_fits(
    name: str, provider: str, asked: dict[str, Any], usd: Decimal | None
) -> None:
    known, call = model(name, provider), image(name, **asked)
    assert image_worst_case(known, call, 10) == usd
    assert image_cost(known, call, None, call.n) == usd


@pytest.mark.parametrize(
    ("quality", "size", "tokens"),
    [
        # OpenAI's guide to image generation: tokens of one image of gpt-image-1
        ("low", "1024x1024", 272), ("medium", "1024x1024", 1056), ("high", "1024x1024", 4160),
        ("low", "1024x1536", 408), ("medium", "1024x1536", 1584), ("high", "1024x1536", 6240),
        # and of gpt-image-2, from its price of an image
        ("low", "1024x1024", 200), ("medium", "1024x1024", 1767), ("high", "1024x1024", 7033),
        ("high", "1536x1024", 5500), ("auto", None, 7033),
    ],
)  # fmt: skip
def test_what_is_reserved_covers_the_tokens_an_image_takes(quality: str, size: str | None, tokens: int) -> None:
    known, call = model("gpt-image-2", "openai"), image("gpt-image-2", quality=quality, size=size)
    worst = image_worst_case(known, call, 10)
    cost = image_cost(known, call, Usage(input_tokens=10, output_tokens=tokens), 1)
    assert worst is not None
    assert cost == 10 * Decimal("5e-6") + tokens * Decimal("30e-6")
    assert cost <= worst


def test_tokens_of_a_prompt_read_from_the_cache_and_of_text_in_the_answer_have_rates_of_their_own() -> None:
    known, call = model("gpt-image-1.5", "openai"), image("gpt-image-1.5")
    usage = Usage(input_tokens=1000, cached_input_tokens=400, output_tokens=500, output_text_tokens=100)
    # 600 at 5, 400 at 1.25, 100 of text at 10 and 400 of image at 32 USD a million
    assert image_cost(known, call, usage, 1) == Decimal("0.0030") + Decimal("0.0005") + Decimal("0.001") + Decimal(
        "0.0128"
    )


def test_a_model_with_a_price_for_both_is_reserved_by_the_image_and_paid_by_what_it_counts() -> None:
    known, call = model("gemini/gemini-2.5-flash-image", "gemini"), image("gemini/gemini-2.5-flash-image")
    assert image_worst_case(known, call, 10) == Decimal("0.039") + 10 * Decimal("0.3e-6")
    assert image_cost(known, call, None, 1) == Decimal("0.039")
    assert image_cost(known, call, Usage(input_tokens=10, output_tokens=1290), 1) == Decimal("0.038703")
    large = image_worst_case(known, image(call.model, size="3840x2160"), 10)
    assert large == 10 * Decimal("0.3e-6") + 3840 * 2160 // 128 * Decimal("30e-6")


def test_the_price_of_a_named_model_comes_first() -> None:
    call = image("poster", n=3)
    by_image = model("poster", "openai", stands_for="gpt-image-2", price_per_image=Decimal("0.5"))
    assert image_worst_case(by_image, call, 10) == Decimal("1.5")
    assert image_cost(by_image, call, Usage(input_tokens=10, output_tokens=200), 2) == 1
    by_token = model(
        "poster", "openai", stands_for="gpt-image-2", price=TokenPrice(input=Decimal(1), output=Decimal(10))
    )
    assert image_cost(by_token, call, Usage(input_tokens=10, output_tokens=200), 2) == Decimal("0.00201")
    assert image_cost(by_token, call, None, 2) is None
    # three images of 1536 x 1024 points at 128 a token
    assert image_worst_case(by_token, call, 10) == Decimal("0.00001") + 3 * 12288 * Decimal("0.00001")


def ranking(query: str, *documents: str) -> RerankCall:
    return RerankCall(model="m", query=query, documents=documents)


def test_long_documents_count_as_several() -> None:
    known = model("cohere/rerank-v3.5", "cohere")
    # "word " has at least one token a time: 1000 of them are more than one piece of 500, and 100 such more than a unit
    assert rerank_worst_case(known, ranking("a", *["b"] * 100)) == Decimal("0.002")
    long = rerank_worst_case(known, ranking("a", *["word " * 1000] * 100))
    assert long is not None
    assert long >= Decimal("0.004")
    assert rerank_cost(known, ranking("a", "b"), None, 3) == Decimal("0.006")


def test_the_query_is_billed_once_for_each_document_where_tokens_are_billed() -> None:
    known, call = model("voyage/rerank-2.5", "voyage"), ranking("one two three", "four", "five")
    assert count_rerank_tokens(call) >= 2 * 3 + 2
    assert rerank_worst_case(known, call) == count_rerank_tokens(call) * Decimal("5e-8")
    assert rerank_cost(known, call, Usage(input_tokens=8), None) == Decimal("4e-7")
    assert rerank_cost(known, call, None, None) is None


def test_a_ranking_has_the_price_its_table_says() -> None:
    call = ranking("a", "b")
    by_unit = model("mine", "cohere", stands_for="cohere/rerank-v3.5", price_per_query=Decimal("0.1"))
    by_token = model(
        "mine", "cohere", stands_for="cohere/rerank-v3.5", price=TokenPrice(input=Decimal(1), output=Decimal(0))
    )
    assert (rerank_worst_case(by_unit, call), rerank_cost(by_unit, call, None, 2)) == (Decimal("0.1"), Decimal("0.2"))
    assert rerank_worst_case(by_token, call) == count_rerank_tokens(call) * Decimal("0.000001")
    assert rerank_cost(by_token, call, Usage(input_tokens=5), 1) == Decimal("0.000005")
    unknown = model("hosted_vllm/x", "hosted_vllm")
    assert (rerank_worst_case(unknown, call), rerank_cost(unknown, call, Usage(input_tokens=5), None)) == (None, None)


@pytest.mark.parametrize(
    ("name", "dialect", "asked"),
    [
        ("gpt-image-2", OPENAI, False),
        ("dall-e-3", OPENAI, True),
        ("chatgpt-image-latest", COMPATIBLE, False),
        ("flux", COMPATIBLE, True),
    ],
)
def test_bytes_are_asked_for_where_an_address_may_come_and_asking_is_not_refused(
    name: str, dialect: Any, asked: bool
) -> None:
    assert (b'"response_format":"b64_json"' in image_body(image(name), name, dialect)) is asked


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["input_tokens", "output_tokens", "x"]), inner),
)


@given(said=JSON)
def test_no_usage_whatever_is_said_breaks_an_answer(said: Any) -> None:
    usage = read_image_usage(said)
    assert usage is None or usage.input_tokens or usage.output_tokens
