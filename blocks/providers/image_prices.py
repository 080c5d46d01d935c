"""What images cost, by LiteLLM's price table, in exact decimals.

The table prices some models by the image or its pixels, in rows whose names hold quality and size
(`azure/hd/1024-x-1792/dall-e-3`), and others by the token; how many tokens an image takes is not in it.
Zeros stand for prices that nobody entered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from blocks.providers.price_table import rows_of_mode
from blocks.providers.prices import price_of, worst_case_of
from schemas.calls import ImageCall, ModelInfo, Usage
from schemas.named_models import TokenPrice

USUAL_PIXELS = 1536 * 1024
"""The largest size that a model chooses by itself."""
SMALLEST_PIXELS = 1024 * 1024
PIXELS_PER_TOKEN = {"low": 3072, "medium": 512}
"""Fewest pixels that a token of an image stands for, by quality.

From the prices of single images in OpenAI's image generation guide ("Cost and latency"): at 1024 x 1024,
gpt-image-1 takes 272, 1056 and 4160 tokens for low, medium and high quality, gpt-image-2 (0.006, 0.053 and
0.211 USD at 30 USD a million) 200, 1767 and 7033, and fewer for the larger sizes there.
"""
PIXELS_PER_TOKEN_AT_BEST = 128

_NAME = re.compile(
    r"^(?P<before>.*?)(?:(?P<quality>low|medium|high|standard|hd|auto)/)?(?P<size>\d+-x-\d+|max-x-max)/(?P<model>.+)$"
)
_STEPS = re.compile(r"^(?:\d+|max)-steps/")


@dataclass(frozen=True)
class _Row:
    """One row about a model; None for a quality or size that it does not speak of."""

    quality: str | None
    size: str | None
    values: Mapping[str, Any]

    def fits(self, call: ImageCall) -> bool:
        """True when the row may be the one that prices `call`; what the call leaves open may be anything."""
        quality = None if call.quality == "auto" else call.quality
        size = None if call.size == "auto" else call.size
        return (None in (self.quality, quality) or self.quality == quality) and (
            None in (self.size, size) or self.size == size
        )

    def usd(self, call: ImageCall) -> Decimal | None:
        """Of one image; None where the row says nothing of images or pixels."""
        pixels = _pixels(self.size) or _pixels(call.size) or USUAL_PIXELS
        for name, count in (
            ("input_cost_per_image", 1),
            ("output_cost_per_image", 1),
            ("input_cost_per_pixel", pixels),
            ("output_cost_per_pixel", pixels),
        ):
            if self.values.get(name):
                return Decimal(self.values[name]) * count
        return None


@dataclass(frozen=True)
class _TokenRates:
    """USD per token of a model that is billed by them."""

    text_in: Decimal
    cached_in: Decimal
    text_out: Decimal
    image_out: Decimal


def image_worst_case(model: ModelInfo, call: ImageCall, input_tokens: int) -> Decimal | None:
    """The most that `call` can cost in USD; None when no price is known."""
    if model.price_per_image is not None:
        return call.n * model.price_per_image
    if model.price is not None:
        return worst_case_of(model, input_tokens, most_output_tokens(call))
    rates, each = _token_rates(model), _per_image(model, call)
    if rates is None:
        return None if each is None else call.n * each
    prompt, by_token = input_tokens * rates.text_in, most_output_tokens(call) * rates.image_out
    is_usual = each is not None and (_pixels(call.size) or USUAL_PIXELS) <= USUAL_PIXELS
    return prompt + (call.n * each if each is not None and is_usual else by_token)


def image_cost(model: ModelInfo, call: ImageCall, usage: Usage | None, images: int) -> Decimal | None:
    """What an answer of so many images cost: by its tokens where it says them, else by the image."""
    if model.price_per_image is not None:
        return images * model.price_per_image
    counted = usage if usage is not None and usage.output_tokens else None
    if model.price is not None:
        return price_of(model, counted) if counted else None
    rates = _token_rates(model)
    if rates is not None and counted is not None:
        text_out = min(counted.output_text_tokens, counted.output_tokens)
        cached = min(counted.cached_input_tokens, counted.input_tokens)
        return (
            (counted.input_tokens - cached) * rates.text_in
            + cached * rates.cached_in
            + text_out * rates.text_out
            + (counted.output_tokens - text_out) * rates.image_out
        )
    each = _per_image(model, call)
    return None if each is None else images * each


def most_output_tokens(call: ImageCall) -> int:
    """The most tokens that the images of `call` take, where a model is billed by them."""
    pixels = max(_pixels(call.size) or USUAL_PIXELS, SMALLEST_PIXELS)
    return call.n * -(-pixels // PIXELS_PER_TOKEN.get(call.quality or "", PIXELS_PER_TOKEN_AT_BEST))


def is_billed_by_token(model: ModelInfo) -> bool:
    """True when the tokens of an image matter to its price."""
    if model.price_per_image is not None:
        return False
    return model.price is not None or _token_rates(model) is not None


def listed_price(model: ModelInfo) -> TokenPrice | Decimal | None:
    """USD per million tokens, or of the dearest image; None where the model makes none or no price is known."""
    if model.price_per_image is not None:
        return model.price_per_image
    rates = _token_rates(model)
    if rates is None:
        return _per_image(model, ImageCall(model=model.model, prompt=""))
    return TokenPrice(input=rates.text_in * 1_000_000, output=rates.image_out * 1_000_000)


def _per_image(model: ModelInfo, call: ImageCall) -> Decimal | None:
    """Of one image; the dearest where the call leaves open what the table distinguishes."""
    prices = [row.usd(call) for row in _rows_of(model) if row.fits(call)]
    return max((usd for usd in prices if usd is not None), default=None)


def _token_rates(model: ModelInfo) -> _TokenRates | None:
    """The rates of the model's own row; None where a token of an image has no price."""
    for row in _rows_of(model):
        values = row.values
        if row.size is None and row.quality is None and values.get("output_cost_per_image_token"):
            image_out, text_in = values["output_cost_per_image_token"], values.get("input_cost_per_token") or 0
            return _TokenRates(
                text_in=Decimal(text_in),
                cached_in=Decimal(values.get("cache_read_input_token_cost") or text_in),
                text_out=Decimal(values.get("output_cost_per_token") or image_out),
                image_out=Decimal(image_out),
            )
    return None


def _rows_of(model: ModelInfo) -> tuple[_Row, ...]:
    """All rows about the model; those under its name alone where none are under its provider's."""
    bare = model.litellm_model.removeprefix(f"{model.provider}/")
    index = _index()
    return index.get(f"{model.provider}/{bare}") or index.get(bare) or ()


@lru_cache(maxsize=1)
def _index() -> Mapping[str, tuple[_Row, ...]]:
    """The rows by model, quality and size taken out of the name."""
    found: dict[str, list[_Row]] = {}
    for name, values in rows_of_mode("image_generation").items():
        match = _NAME.match(name)
        if match is None:
            found.setdefault(_own_name(name, values), []).append(_Row(None, None, values))
            continue
        size = match["size"].replace("-x-", "x")
        model = _own_name(match["before"] + _STEPS.sub("", match["model"]), values)
        found.setdefault(model, []).append(_Row(match["quality"], size, values))
    return {name: tuple(rows) for name, rows in found.items()}


def _own_name(name: str, values: Mapping[str, Any]) -> str:
    """Provider and model; the table leaves the provider out for some."""
    provider = str(values.get("litellm_provider", "")).partition("-")[0]
    bare = name.removeprefix(f"{provider}/")
    return f"{provider}/{bare}"


def _pixels(size: str | None) -> int | None:
    if size is None or not re.fullmatch(r"\d+x\d+", size):
        return None
    width, _, height = size.partition("x")
    return int(width) * int(height)
