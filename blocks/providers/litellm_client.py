"""Calls to every provider but OpenAI and its likes, through LiteLLM.

LiteLLM takes seconds to import, so it is imported by the first call that needs it, off the event
loop. Its own retries, telemetry, price download and chatter are switched off. The recorded bodies are
the request as LiteLLM worded it for the provider and the answer as LiteLLM received it.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import os
from array import array
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import orjson
from pydantic import ValidationError

from blocks.garbage import without_garbage_collection
from blocks.named_models import read_secret, required_secret
from blocks.providers.exchange import Exchange
from blocks.providers.failures import Origin, unreadable
from blocks.providers.http_client import without_credentials
from blocks.providers.litellm_failures import translated
from blocks.providers.openai_answers import judge, read_usage
from blocks.providers.openai_requests import messages, response_format, sampling
from blocks.providers.price_table import SELF_HOSTED
from schemas.calls import ChatCall, EmbeddingCall, ProviderReply
from schemas.errors import ConfigurationError
from schemas.named_models import NamedModel

_ADDRESS_SUFFIXES = ("API_BASE", "BASE_URL", "API_URL", "ENDPOINT")
_BEDROCK_ADDRESS = "AWS_BEDROCK_RUNTIME_ENDPOINT"
_KEY_VARIABLES = {
    "azure": "AZURE_API_KEY",
    "bedrock": "AWS_ACCESS_KEY_ID",
    "sagemaker": "AWS_ACCESS_KEY_ID",
    "together_ai": "TOGETHERAI_API_KEY",
    "vertex_ai": "GOOGLE_APPLICATION_CREDENTIALS",
}
_OTHER_NAMES = {"AZURE_API_KEY": "AZURE_OPENAI_API_KEY"}
"""Variables that LiteLLM reads as well, and does not speak of when it says what is missing."""

_ONE_ATTEMPT: ContextVar[bool] = ContextVar("one_attempt", default=False)


def provider_of(model: str) -> str:
    """The provider in a LiteLLM name: what stands before the first slash."""
    return model.partition("/")[0]


def place_of(provider: str) -> str:
    """`provider`, with its address where the environment sets another than the usual one."""
    variable = address_variable(provider)
    return f"{provider}@{without_credentials(os.environ[variable])}" if variable else provider


def place_of_named(named: NamedModel) -> str:
    """The provider of a named model, with its address where it is another than the usual one."""
    return f"{named.provider}@{without_credentials(named.api_base)}" if named.api_base else place_of(named.provider)


def key_variable(provider: str) -> str:
    """The environment variable LiteLLM reads the key of `provider` from."""
    return _KEY_VARIABLES.get(provider, f"{provider.upper()}_API_KEY")


def address_variable(provider: str) -> str | None:
    """The environment variable that sets another address for `provider`, if one does."""
    if provider == "bedrock" and os.environ.get(_BEDROCK_ADDRESS):
        return _BEDROCK_ADDRESS
    stem = provider.removesuffix("_chat").upper()
    return next((name for suffix in _ADDRESS_SUFFIXES if os.environ.get(name := f"{stem}_{suffix}")), None)


@dataclass(frozen=True)
class LiteLLMClient:
    """Speaks for one model.

    Attributes:
        model: as the caller named it.
        named: what that name stands for.
    """

    litellm: ModuleType
    model: str
    named: NamedModel

    async def chat(self, call: ChatCall, exchange: Exchange, timeout_seconds: float) -> ProviderReply:
        """The answer to `call`.

        Raises:
            HeadraceError: see `failures`; a parameter the provider does not know is `BadInput`.
        """
        arguments = {"messages": messages(call), "max_tokens": call.parameters.max_tokens, **sampling(call.parameters)}
        if call.output_schema is not None:
            arguments["response_format"] = response_format(call.output_name, call.output_schema, strict=True)
        answer = await self.attempt("acompletion", arguments, exchange, timeout_seconds)
        try:
            choice = answer.choices[0]
            exchange.reply = ProviderReply(
                text=choice.message.content or "",
                finish_reason=choice.finish_reason,
                **self._common(answer, exchange),
            )
        except (AttributeError, IndexError, ValidationError) as error:
            raise unreadable(self.origin, type(error).__name__) from None  # which quotes the answer
        judge(exchange.reply, getattr(choice.message, "refusal", None), self.origin)
        return exchange.reply

    async def embed(self, call: EmbeddingCall, exchange: Exchange, timeout_seconds: float) -> ProviderReply:
        """The vectors for `call`, in the order of its texts; errors as in `chat`."""
        arguments: dict[str, Any] = {"input": list(call.texts)}
        if call.dimensions is not None:
            arguments["dimensions"] = call.dimensions
        answer = await self.attempt("aembedding", arguments, exchange, timeout_seconds)
        try:
            vectors = tuple(array("d", map(float, row["embedding"])) for row in answer.data)
        except (TypeError, KeyError, ValueError) as error:
            raise unreadable(self.origin, type(error).__name__) from None  # which quotes the answer
        if len(vectors) != len(call.texts):
            raise unreadable(self.origin, f"{len(vectors)} vectors for {len(call.texts)} texts")
        exchange.reply = ProviderReply(vectors=vectors, **self._common(answer, exchange))
        return exchange.reply

    def trouble(self) -> str | None:
        """None when the environment holds what the provider needs, else what is missing; no network."""
        named = self.named
        if named.provider in SELF_HOSTED:
            return None
        if named.api_key_env is not None:
            missing = [] if read_secret(named.api_key_env) else [named.api_key_env]
        else:
            said = self.litellm.validate_environment(model=named.model)["missing_keys"]
            missing = [variable for variable in said if not read_secret(_OTHER_NAMES.get(variable, variable))]
        if named.api_base is not None:
            missing = [variable for variable in missing if not variable.endswith(_ADDRESS_SUFFIXES)]
        return f"{self.model} needs {', '.join(missing)} to be set" if missing else None

    @property
    def origin(self) -> Origin:
        """Whom to blame."""
        named, provider = self.named, self.named.provider
        variable = f"[models.{self.model}]" if named.api_base else address_variable(provider)
        return Origin(self.model, place_of_named(named), named.api_key_env or key_variable(provider), variable)

    async def attempt(self, name: str, arguments: dict[str, Any], exchange: Exchange, timeout_seconds: float) -> Any:
        """LiteLLM's answer to one attempt at its function `name`; what went over the wire is in `exchange`."""
        function, own = getattr(self.litellm, name), self._own_address()
        token = _ONE_ATTEMPT.set(True)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await function(
                    model=self.named.model,
                    timeout=timeout_seconds,
                    num_retries=0,
                    max_retries=0,
                    logger_fn=lambda details: _record(details, exchange),
                    **own,
                    **arguments,
                )
        except Exception as error:  # its text can repeat the key or the prompt: no traceback shall show it
            raise translated(error, exchange, self.origin) from None
        finally:
            _ONE_ATTEMPT.reset(token)

    def _own_address(self) -> dict[str, str]:
        """Address and key of a named model that has them of its own."""
        own = {}
        if self.named.api_base is not None:
            # beside the variable for Bedrock's address, `api_base` would count for the signature alone
            argument = "aws_bedrock_runtime_endpoint" if self.named.provider == "bedrock" else "api_base"
            own[argument] = self.named.api_base.rstrip("/")
        if self.named.api_key_env is not None:
            own["api_key"] = required_secret(self.model, self.named.api_key_env)
        return own

    def _common(self, answer: Any, exchange: Exchange) -> dict[str, Any]:
        if exchange.response_bytes is None:
            exchange.response_bytes = answer.model_dump_json().encode()
        reported = getattr(answer, "usage", None)
        usage = read_usage(reported.model_dump()) if reported is not None else None
        return {
            "model": answer.model or self.model,
            "usage": usage.usage() if usage else None,
            "provider_cost_usd": usage.cost_usd() if usage else None,
            "provider_request_id": _request_id(answer),
            "request_bytes": exchange.request_bytes or b"",
            "response_bytes": exchange.response_bytes,
        }


def litellm_client(litellm: ModuleType, model: str, named: NamedModel) -> LiteLLMClient:
    """The client for `model`, which stands for `named`.

    Raises:
        ConfigurationError: LiteLLM knows no provider of that name.
    """
    try:
        litellm.get_llm_provider(model=named.model)
    except litellm.exceptions.BadRequestError as error:
        raise ConfigurationError(
            f"there is no provider for the model name {named.model}; "
            "names look like gpt-4o-mini or anthropic/claude-haiku-4-5",
            model=model,
        ) from error
    return LiteLLMClient(litellm, model, named)


def _record(details: Mapping[str, Any], exchange: Exchange) -> None:
    """LiteLLM calls this before the request and after the answer."""
    body = (details.get("additional_args") or {}).get("complete_input_dict")
    if body is not None:
        exchange.request_bytes = body.encode() if isinstance(body, str) else orjson.dumps(body, default=str)
    answer = details.get("original_response")
    if isinstance(answer, str):
        exchange.status, exchange.response_bytes = 200, answer.encode("utf-8", "replace")


def _request_id(answer: Any) -> str | None:
    headers = (getattr(answer, "_hidden_params", None) or {}).get("additional_headers") or {}
    found = (headers.get(f"llm_provider-{name}") for name in ("x-request-id", "request-id"))
    return next((str(value) for value in found if value), getattr(answer, "id", None))


def load_litellm() -> ModuleType:
    """LiteLLM, imported and quiet; blocks for seconds the first time.

    Variables of a `.env` in the working folder are in the environment afterwards, as LiteLLM reads
    providers' keys only there.
    """
    import dotenv

    dotenv.load_dotenv(".env")
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    with without_garbage_collection():  # a fifth of the time
        litellm = importlib.import_module("litellm")
    litellm.telemetry = False  # type: ignore[attr-defined]
    litellm.suppress_debug_info = True  # type: ignore[attr-defined]
    litellm.drop_params = False  # type: ignore[attr-defined]
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    _forbid_retries(importlib.import_module("litellm.llms.openai.openai").OpenAIChatCompletion)
    _forbid_questions(importlib.import_module("litellm.llms.ollama.common_utils").OllamaModelInfo)
    return litellm


def _forbid_retries(handler: Any) -> None:
    """Within our calls the openai package under LiteLLM tries once.

    LiteLLM drops `max_retries` for most providers it reaches through that package, which then tries
    three times: two attempts more that nobody reserved money for.
    """
    original = handler._get_openai_client
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def get_client(*positional: Any, **named: Any) -> Any:
        if _ONE_ATTEMPT.get():
            named["max_retries"] = 0
        return original(*positional, **named)

    handler._get_openai_client = get_client


def _forbid_questions(handler: Any) -> None:
    """Ollama is asked nothing but the call.

    LiteLLM would ask it what it knows of the model, twice a call, and the event loop stands still meanwhile.
    """
    original = handler.get_runtime_model_info
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def get_info(self: Any, model: str, *positional: Any, **named: Any) -> Any:
        unknown = dict.fromkeys(("max_tokens", "max_input_tokens", "max_output_tokens"))
        free = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
        return {"key": model, "litellm_provider": "ollama", "mode": "chat", **free, **unknown}

    handler.get_runtime_model_info = get_info


async def close_clients(litellm: ModuleType) -> None:
    """The HTTP clients LiteLLM keeps for the running event loop are closed; other loops keep theirs."""
    cache: dict[str, Any] = litellm.in_memory_llm_clients_cache.cache_dict
    ending = f"-{id(asyncio.get_running_loop())}"
    for key in [key for key in cache if key.endswith(ending)]:
        client = cache.pop(key)
        close = getattr(client, "close", None) or getattr(client, "aclose", None)
        if close is not None and asyncio.iscoroutinefunction(close):
            await close()
