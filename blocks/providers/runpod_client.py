"""Chat with a model behind a RunPod queue, or behind the llama.cpp server that came before it."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from functools import lru_cache

import aiohttp
from pydantic import SecretStr

from blocks.providers.exchange import Exchange
from blocks.providers.failures import Origin, failure_of, no_answer, unreadable
from blocks.providers.http_client import Server, get, post, proxy_for, without_credentials
from blocks.providers.openai_answers import load_json
from blocks.providers.runpod_job import QueuedJob
from blocks.providers.runpod_requests import completion_body, job_body, longest_execution, prompt_of
from blocks.providers.runpod_shapes import note_work, read_job, read_output
from schemas.calls import ChatCall, EmbeddingCall, ModelInfo, ProviderReply
from schemas.errors import ConfigurationError, HeadraceError
from schemas.settings import Settings

log = logging.getLogger(__name__)

DEFAULT_MODEL = "runpod/default"
"""The endpoint that `LEXYBRAIN_RUNPOD_ENDPOINT_ID` names."""
PROBE_SECONDS = 10.0
_ENDPOINT = re.compile(r"[A-Za-z0-9_\-]{1,100}")


@dataclass(frozen=True)
class _ChatOnly:
    """What both clients have in common.

    Attributes:
        model: name of the model for the record where the worker says none.
        limit_seconds: how long an answer is waited for.
    """

    session: aiohttp.ClientSession
    server: Server
    model: str
    limit_seconds: float

    async def embed(self, call: EmbeddingCall, exchange: Exchange, timeout_seconds: float) -> ProviderReply:
        """Raises ConfigurationError: the workers only chat."""
        raise ConfigurationError(f"{call.model} makes no embeddings; choose another embedding model", model=call.model)

    async def trouble(self) -> str | None:
        """None when the server says that it is well, else what is wrong, in a sentence; starts no worker."""
        try:
            answer = await get(self.session, self.server, "/health", timeout_seconds=PROBE_SECONDS)
        except HeadraceError as error:
            return str(error)
        if answer.status == 200:
            return None
        return str(failure_of(answer.status or 0, {}, answer.response_bytes or b"", self.server.origin))


@dataclass(frozen=True)
class RunPodClient(_ChatOnly):
    """Speaks for one endpoint's queue.

    Attributes:
        sync: jobs are submitted with `/runsync`.
    """

    sync: bool = False

    async def chat(self, call: ChatCall, exchange: Exchange, timeout_seconds: float) -> ProviderReply:
        """The answer to `call`, of the job that `exchange` names or of a new one.

        A job that does not end in time, or whose caller is cancelled, is cancelled.

        Raises:
            ProviderTimeout: no answer in time. The job is stopped, and `exchange.reply` says for how long it
                worked; where there is none, it may still run, and can be waited for by its id.
            HeadraceError: as `http_client.post`, `QueuedJob.answered` and `runpod_shapes.read_job`.
        """
        prompt, origin = prompt_of(call), self.server.origin
        exchange.request_bytes = job_body(call, prompt, self.limit_seconds)
        seconds = min(timeout_seconds, self.limit_seconds)
        queued = QueuedJob(self.session, self.server, exchange)
        try:
            async with asyncio.timeout(seconds):
                job = await queued.answered(sync=self.sync, seconds=seconds)
        except TimeoutError:
            stopped = await queued.stop()
            if stopped is not None and stopped.is_answered:
                return read_job(stopped, exchange, prompt, origin, self.model)
            if stopped is not None:
                note_work(stopped, exchange, self.model)
            raise no_answer(origin, f"none within {seconds:g} s") from None
        except asyncio.CancelledError:
            stopped = await queued.stop()
            if stopped is not None and not stopped.is_answered:  # an answer can be fetched by whoever asks again
                note_work(stopped, exchange, self.model)
            raise
        return read_job(job, exchange, prompt, origin, self.model)


@dataclass(frozen=True)
class CompletionClient(_ChatOnly):
    """Speaks to a llama.cpp server; deprecated."""

    async def chat(self, call: ChatCall, exchange: Exchange, timeout_seconds: float) -> ProviderReply:
        """The answer to `call`; errors as in `http_client.post` and `runpod_shapes.read_output`."""
        prompt, origin = prompt_of(call), self.server.origin
        exchange.request_bytes = completion_body(call, prompt)
        seconds = min(timeout_seconds, self.limit_seconds)
        await post(self.session, self.server, "/completion", exchange, timeout_seconds=seconds)
        try:
            output = load_json(exchange.response_bytes or b"")
        except (ValueError, RecursionError):
            raise unreadable(origin, "not JSON") from None
        return read_output(output, exchange, prompt, origin, self.model)


def runpod_client(session: aiohttp.ClientSession, settings: Settings, model: str) -> RunPodClient | CompletionClient:
    """The client for `runpod/ENDPOINT` or `runpod/default`.

    Raises:
        ConfigurationError: the endpoint, the key or the address is missing or wrong; the message names the variable.
    """
    limit = settings.runpod_limit_seconds
    if _is_legacy(settings, model):
        _warn_of_legacy()
        return CompletionClient(session, _legacy_server(settings, model), model, limit)
    version = _version(settings, model) or model
    return RunPodClient(session, _queue_server(settings, model), version, limit, settings.runpod_sync)


def describe_runpod(settings: Settings, model: str) -> ModelInfo:
    """What is known of `model`; errors as in `runpod_client`."""
    if _is_legacy(settings, model):
        identity = f"llama.cpp@{without_credentials(settings.lexybrain_model_url or '')}"
        return ModelInfo(model=model, provider="runpod", identity=identity, version=settings.runpod_model_version)
    version = _version(settings, model)
    return ModelInfo(
        model=model,
        provider="runpod",
        identity=f"runpod@{_queue_address(settings, model)}" + (f"#{version}" if version else ""),
        queued=True,
        version=version,
        usd_per_second=settings.runpod_usd_per_second,
        longest_seconds=longest_execution(settings.runpod_limit_seconds),
    )


def _is_legacy(settings: Settings, model: str) -> bool:
    """True where only the address of the older server is set."""
    return model == DEFAULT_MODEL and not settings.runpod_api_key and bool(settings.lexybrain_model_url)


@lru_cache(maxsize=1)
def _warn_of_legacy() -> None:
    """Said once in the life of a process."""
    log.warning(
        "LEXYBRAIN_MODEL_URL and LEXYBRAIN_KEY are deprecated: "
        "set RUNPOD_API_KEY and LEXYBRAIN_RUNPOD_ENDPOINT_ID to use the endpoint's queue"
    )


def _version(settings: Settings, model: str) -> str | None:
    """The name of the weights, which is set for the default endpoint only."""
    is_default = model in (DEFAULT_MODEL, f"runpod/{settings.runpod_endpoint_id}")
    return settings.runpod_model_version if is_default else None


def _queue_address(settings: Settings, model: str) -> str:
    endpoint = settings.runpod_endpoint_id if model == DEFAULT_MODEL else model.removeprefix("runpod/")
    if not endpoint:
        raise ConfigurationError(f"{model} needs LEXYBRAIN_RUNPOD_ENDPOINT_ID to be set", model=model)
    if not _ENDPOINT.fullmatch(endpoint.strip()):
        raise ConfigurationError(f"{model} does not name a RunPod endpoint; the id is letters and digits", model=model)
    return f"{without_credentials(settings.runpod_base_url)}/{endpoint.strip()}"


def _queue_server(settings: Settings, model: str) -> Server:
    address = _queue_address(settings, model)
    key = _key(settings.runpod_api_key, "RUNPOD_API_KEY")
    if not key:
        raise ConfigurationError(f"{model} is at RunPod, but RUNPOD_API_KEY is not set", model=model)
    origin = Origin(model, "RunPod", "RUNPOD_API_KEY", "LEXYBRAIN_RUNPOD_ENDPOINT_ID")
    return Server(address, origin, {"Authorization": f"Bearer {key}"}, key, proxy_for(address))


def _legacy_server(settings: Settings, model: str) -> Server:
    address = without_credentials((settings.lexybrain_model_url or "").strip())
    key = _key(settings.lexybrain_key, "LEXYBRAIN_KEY")
    # The load balancer reads the first, a check that some containers were built with the second.
    headers = {"Authorization": f"Bearer {key}", "X-LEXYBRAIN-KEY": key} if key else {}
    origin = Origin(model, "the llama.cpp server", "LEXYBRAIN_KEY", "LEXYBRAIN_MODEL_URL")
    return Server(address, origin, headers, key or None, proxy_for(address))


def _key(secret: SecretStr | None, variable: str) -> str:
    key = secret.get_secret_value().strip() if secret else ""
    if not key.isascii() or not key.isprintable():
        raise ConfigurationError(f"{variable} holds characters that no key has; was it pasted in full?")
    return key
