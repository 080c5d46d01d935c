"""Images and rankings by every provider but OpenAI and its likes, through LiteLLM."""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Any

import aiohttp
import orjson
from pydantic import ValidationError

from blocks.named_models import read_secret
from blocks.providers.exchange import Exchange
from blocks.providers.failures import unreadable
from blocks.providers.image_files import ImageSource, before_reading, read_images
from blocks.providers.litellm_client import LiteLLMClient, address_variable
from blocks.providers.openai_images import read_image_usage
from blocks.providers.rankings import SaidRank, ranked
from schemas.calls import ImageCall, ProviderReply, RerankCall, Usage
from schemas.errors import ConfigurationError, ProviderUnavailable

RERANKERS = frozenset(
    {"azure_ai", "bedrock", "cohere", "deepinfra", "fireworks_ai", "hosted_vllm", "infinity", "jina_ai"}
    | {"litellm_proxy", "nvidia_nim", "together_ai", "voyage", "watsonx"}
)
"""Providers that LiteLLM asks to rerank (`litellm/rerank_api/main.py`)."""
IMAGE_MAKERS = frozenset(
    {"aiml", "azure", "azure_ai", "bedrock", "black_forest_labs", "dashscope", "edenai", "fal_ai", "gemini"}
    | {"litellm_proxy", "openrouter", "qwen_ai_platform", "qwencloud", "recraft", "runwayml", "stability"}
    | {"vertex_ai", "xai"}
)
"""Providers that LiteLLM asks for images (`litellm/images/main.py`)."""
ECHOES_DOCUMENTS = frozenset({"jina_ai"})
"""Providers that send the documents back where they are not told to leave it."""
LOGS_NOTHING = frozenset({"together_ai"})
"""Providers whose request LiteLLM does not show; what is recorded is what LiteLLM was given."""
FORGETS_ADDRESS = frozenset({"openrouter"})
"""Providers whose address LiteLLM takes from the environment for chat, and not for images."""
MOST_UNITS = 1_000_000


async def images_by_litellm(
    client: LiteLLMClient, session: aiohttp.ClientSession, call: ImageCall, exchange: Exchange, timeout_seconds: float
) -> ProviderReply:
    """The images for `call`; errors as in `LiteLLMClient.chat` and `image_files.read_images`."""
    arguments: dict[str, Any] = {"prompt": call.prompt, "n": call.n, "size": call.size, "quality": call.quality}
    given = {name: value for name, value in arguments.items() if value is not None}
    provider = client.named.provider
    if provider in FORGETS_ADDRESS and client.named.api_base is None and (variable := address_variable(provider)):
        given["api_base"] = os.environ[variable]
    answer = await _asked(client, "aimage_generation", given, exchange, timeout_seconds)
    try:
        sources = [ImageSource(image.b64_json, image.url, image.revised_prompt) for image in answer.data or ()]
    except AttributeError as error:
        raise unreadable(client.origin, type(error).__name__) from None  # which quotes the answer
    bare = _reply(client, answer, exchange, usage=_image_usage(answer))
    exchange.reply = before_reading(bare, sources)
    images = await read_images(session, sources, call.n, client.origin, timeout_seconds)
    exchange.reply = bare.model_copy(update={"images": images})
    return exchange.reply


async def ranking_by_litellm(
    client: LiteLLMClient, call: RerankCall, exchange: Exchange, timeout_seconds: float
) -> ProviderReply:
    """The documents of `call` in order; errors as in `LiteLLMClient.chat` and `rankings.ranked`."""
    arguments: dict[str, Any] = {"query": call.query, "documents": list(call.documents)}
    if call.top_n is not None:
        arguments["top_n"] = call.wanted
    if client.named.provider in ECHOES_DOCUMENTS:
        arguments["return_documents"] = False
    answer = await _asked(client, "arerank", arguments, exchange, timeout_seconds)
    try:
        said = [SaidRank.model_validate(row) for row in answer.results or ()]
        units, usage = _units(answer.meta), _rerank_usage(answer.meta)
    except (AttributeError, TypeError, ValidationError) as error:
        raise unreadable(client.origin, type(error).__name__) from None  # which quotes the answer
    bare = _reply(client, answer, exchange, usage=usage)
    exchange.reply = bare.model_copy(update={"search_units": units, "ranking": ranked(said, call, client.origin)})
    return exchange.reply


async def _asked(
    client: LiteLLMClient, name: str, arguments: dict[str, Any], exchange: Exchange, timeout_seconds: float
) -> Any:
    """LiteLLM's answer, with what went over the wire in `exchange`."""
    provider, variable = client.named.provider, client.origin.key_variable
    if provider in LOGS_NOTHING:
        if client.named.api_key_env is None and read_secret(variable) is None:
            raise ConfigurationError(f"{client.model} needs {variable} to be set", model=client.model)
        exchange.request_bytes = orjson.dumps({"model": client.named.model, **arguments})
    try:
        answer = await client.attempt(name, arguments, exchange, timeout_seconds)
    except ProviderUnavailable as error:
        if error.details.get("billed") == "unknown" and exchange.request_bytes is None:
            raise ConfigurationError(  # LiteLLM's own complaint, made before anything was sent
                f"{client.model} cannot be asked: is {variable} set?", model=client.model, setting=variable
            ) from None
        if error.details.get("billed") == "unknown":
            exchange.status = 200
        raise
    exchange.status = 200
    return answer


def _reply(client: LiteLLMClient, answer: Any, exchange: Exchange, *, usage: Usage | None) -> ProviderReply:
    if exchange.response_bytes is None:
        exchange.response_bytes = answer.model_dump_json().encode()
    answer_id = getattr(answer, "id", None)
    return ProviderReply(
        model=client.named.model.partition("/")[2],
        usage=usage,
        provider_cost_usd=_told_cost(answer),
        provider_request_id=answer_id if isinstance(answer_id, str) else None,
        request_bytes=exchange.request_bytes or b"",
        response_bytes=exchange.response_bytes,
    )


def _told_cost(answer: Any) -> Decimal | None:
    """What OpenRouter says an image cost (`usage.cost`), which LiteLLM hands on as if it were a header."""
    headers = (getattr(answer, "_hidden_params", None) or {}).get("additional_headers") or {}
    told = headers.get("llm_provider-x-litellm-response-cost")
    return Decimal(repr(told)) if isinstance(told, float) else None


def _image_usage(answer: Any) -> Usage | None:
    """LiteLLM words some usages as of chat, with the parts of the output beside them."""
    said = getattr(answer, "usage", None)
    if said is None:
        return None
    counts = said.model_dump()
    made = counts.get("output_tokens_details") or counts.get("completion_tokens_details")
    return read_image_usage(
        {
            "input_tokens": counts.get("input_tokens") or counts.get("prompt_tokens") or 0,
            "output_tokens": counts.get("output_tokens") or counts.get("completion_tokens") or 0,
            "input_tokens_details": counts.get("input_tokens_details") or counts.get("prompt_tokens_details"),
            "output_tokens_details": made if made and made.get("image_tokens") else None,
        }
    )


def _units(meta: Any) -> int | None:
    """Search units billed; None where they are not said, or cannot be."""
    said = ((meta or {}).get("billed_units") or {}).get("search_units")
    return said if isinstance(said, int) and 0 <= said <= MOST_UNITS else None


def _rerank_usage(meta: Any) -> Usage | None:
    """Tokens billed; LiteLLM has them in one of three places."""
    billed, tokens = (meta or {}).get("billed_units") or {}, (meta or {}).get("tokens") or {}
    count = billed.get("total_tokens") or tokens.get("input_tokens") or tokens.get("output_tokens")
    return Usage(input_tokens=count) if isinstance(count, int) and count > 0 else None
