"""Search by z.ai: `POST /web_search` (https://docs.z.ai/api-reference/tools/web-search).

Field names and types are those of its SDK (`zai-org/z-ai-sdk-python`, `types/web_search`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from pydantic import BaseModel, ValidationError

from blocks.providers.exchange import Exchange
from blocks.providers.failures import Origin, unreadable
from blocks.providers.http_client import Server, post, proxy_for, without_credentials
from blocks.providers.openai_answers import load_json
from blocks.search.domains import host_of, sift
from schemas.calls import MOST_RESULTS, ProviderReply, Recency, SearchCall, WebResult
from schemas.errors import ConfigurationError, ContentRefused, HeadraceError
from schemas.settings import Settings

ZAI_URL = "https://api.z.ai/api/paas/v4"
ENGINE = "search-prime"
RECENCY: dict[Recency, str] = {"day": "oneDay", "week": "oneWeek", "month": "oneMonth", "year": "oneYear"}
ARREARS = "1113"
SENSITIVE = "1301"
"""Codes of z.ai's errors (https://docs.z.ai/api-reference/api-code)."""


class _Found(BaseModel):
    title: str | None = None
    link: str | None = None
    content: str | None = None
    media: str | None = None
    publish_date: str | None = None


class _Answer(BaseModel):
    id: str | None = None
    search_result: list[_Found]


@dataclass(frozen=True)
class ZaiSearch:
    """Speaks for z.ai."""

    session: aiohttp.ClientSession
    server: Server

    async def search(self, call: SearchCall, exchange: Exchange, timeout_seconds: float) -> ProviderReply:
        """What z.ai finds for `call`.

        Raises:
            ConfigurationError: the key is not accepted, or the account is in arrears.
            ContentRefused: the query is one that z.ai does not answer.
            ProviderUnavailable: it failed, or gave an answer that holds no list of results.
            HeadraceError: as `http_client.post`.
        """
        exchange.request_bytes = orjson.dumps(request_body(call))
        origin = self.server.origin
        try:
            await post(self.session, self.server, "/web_search", exchange, timeout_seconds=timeout_seconds)
        except HeadraceError as error:
            raise _by_code(error, origin) from error.__cause__  # an error that is its own cause has no end
        try:
            answer = _Answer.model_validate(load_json(exchange.response_bytes or b""))
        except (ValidationError, ValueError):
            raise unreadable(origin, "no list of search results") from None  # which quotes the answer
        exchange.reply = ProviderReply(
            results=sift(map(_result, answer.search_result), call.domains, call.count),
            model=call.model,
            provider_request_id=answer.id,
            request_bytes=exchange.request_bytes,
            response_bytes=exchange.response_bytes or b"",
        )
        return exchange.reply


def request_body(call: SearchCall) -> dict[str, Any]:
    """The request; z.ai takes one domain, so that for several it is asked for all it gives and sifted."""
    body: dict[str, Any] = {
        "search_engine": call.model.partition("/")[2],
        "search_query": call.query,
        "count": call.count,
        "search_recency_filter": RECENCY[call.recency] if call.recency else "noLimit",
    }
    if len(call.domains) == 1 and not call.domains[0].startswith("*."):
        body["search_domain_filter"] = call.domains[0]
    elif call.domains:
        body["count"] = MOST_RESULTS
    return body


def _result(found: _Found) -> WebResult:
    url = (found.link or "").strip()
    return WebResult(
        title=(found.title or "").strip(),
        url=url,
        snippet=(found.content or "").strip(),
        published_date=(found.publish_date or "").strip() or None,
        source=(found.media or "").strip() or host_of(url),
    )


def _by_code(error: HeadraceError, origin: Origin) -> HeadraceError:
    match error.details.get("code"):
        case code if code == ARREARS:  # with status 429, but waiting does not help
            return ConfigurationError(f"the account behind {origin.key_variable} is in arrears at z.ai", code=code)
        case code if code == SENSITIVE:
            return ContentRefused("z.ai does not answer this query by its content rules", code=code)
    return error


def zai_place(settings: Settings) -> str:
    """z.ai, with its address where it is not the usual one."""
    return f"zai@{without_credentials(settings.zai_base_url)}" if settings.zai_base_url else "zai"


def zai_key(settings: Settings, model: str) -> str:
    """The key of z.ai.

    Raises:
        ConfigurationError: it is not set, or it is no key.
    """
    key = settings.zai_api_key.get_secret_value().strip() if settings.zai_api_key else ""
    if not key:
        raise ConfigurationError("z.ai is to search the web, but ZAI_API_KEY is not set", model=model)
    if not key.isascii() or not key.isprintable():
        raise ConfigurationError("ZAI_API_KEY holds characters that no key has; was it pasted in full?")
    return key


def zai_search(session: aiohttp.ClientSession, settings: Settings, model: str) -> ZaiSearch:
    """The client; errors as `zai_key`."""
    key = zai_key(settings, model)
    base_url = without_credentials(settings.zai_base_url or ZAI_URL)
    origin = Origin(model, zai_place(settings), "ZAI_API_KEY", "ZAI_API_BASE")
    return ZaiSearch(session, Server(base_url, origin, {"Authorization": f"Bearer {key}"}, key, proxy_for(base_url)))
