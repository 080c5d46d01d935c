"""Search by the providers that LiteLLM knows, worded and read by LiteLLM, sent by us.

LiteLLM's own way to send (`litellm.asearch`) has no time limit for providers asked with GET, and keeps
neither status nor body of an answer; what it knows of each provider is used without it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import ModuleType, SimpleNamespace
from typing import Any

import aiohttp
import orjson
from pydantic import ValidationError

from blocks.providers.exchange import Exchange
from blocks.providers.failures import Origin, unreadable
from blocks.providers.http_client import Server, fetch, post, proxy_for, without_credentials
from blocks.providers.openai_answers import load_json
from blocks.search.catalogue import ENGINES, NOT_PASSED_ON, Engine
from blocks.search.domains import host_of, sift, site_clauses
from schemas.calls import ProviderReply, SearchCall, WebResult
from schemas.errors import BadInput, ConfigurationError


def litellm_place(provider: str) -> str:
    """The provider, with its address where the environment sets another than the usual one."""
    address = os.environ.get(ENGINES[provider].address)
    return f"{provider}@{without_credentials(address)}" if address else provider


@dataclass(frozen=True)
class LiteLLMSearch:
    """Speaks for one provider.

    Attributes:
        wording: LiteLLM's search configuration of the provider.
    """

    session: aiohttp.ClientSession
    wording: Any
    provider: str

    @property
    def engine(self) -> Engine:
        """What is known of the provider beside LiteLLM's wording."""
        return ENGINES[self.provider]

    async def search(self, call: SearchCall, exchange: Exchange, timeout_seconds: float) -> ProviderReply:
        """What the provider finds for `call`.

        Raises:
            ConfigurationError: a key or an address is missing or not accepted.
            BadInput: the provider cannot confine a search to recent pages, or rejects the request.
            ProviderUnavailable: it failed, or gave an answer that holds no results.
            HeadraceError: as `http_client.post`.
        """
        query, parameters, added = self._parameters(call)
        try:
            headers = self.wording.validate_environment(headers={}, api_key=None, api_base=None)
            data = self.wording.transform_search_request(query=query, optional_params=parameters, headers=headers)
            url = self.wording.get_complete_url(api_base=None, optional_params=parameters, data=data)
        except ValueError as error:  # LiteLLM's word for a variable that is missing
            missing = f"{self.engine.key} and, for a server of one's own, {self.engine.address}"
            raise ConfigurationError(f"{self.provider} needs {missing} to be set", model=call.model) from error
        if added and isinstance(data, dict):
            data |= added
        await self._send(url, headers, data, call, exchange, timeout_seconds)
        exchange.reply = self._read(call, url, exchange)
        return exchange.reply

    def _parameters(self, call: SearchCall) -> tuple[str, dict[str, Any], dict[str, str]]:
        """The query, LiteLLM's parameters, and those to be added to the request that it words."""
        engine = self.engine
        parameters: dict[str, Any] = {"max_results": call.count}
        query = call.query
        if engine.lists_domains and call.domains:
            parameters["search_domain_filter"] = [self._domain(domain) for domain in call.domains]
        else:
            query += site_clauses(call.domains)
        if call.recency is None:
            return query, parameters, {}
        if engine.recency is None:
            able = ", ".join(name for name, other in ENGINES.items() if other.recency)
            raise BadInput(f"{self.provider} cannot confine a search to recent pages; zai, {able} can")
        recent = engine.recency(call.recency)
        if self.provider in NOT_PASSED_ON:
            return query, parameters, recent
        return query, parameters | recent, {}

    def _domain(self, domain: str) -> str:
        """`*.gov` as the provider writes it; Perplexity: `.gov`."""
        return domain.removeprefix("*") if self.provider == "perplexity" else domain

    async def _send(
        self,
        url: str,
        headers: Mapping[str, str],
        data: Any,
        call: SearchCall,
        exchange: Exchange,
        timeout_seconds: float,
    ) -> None:
        key = os.environ.get(self.engine.key) or None
        origin = Origin(call.model, litellm_place(self.provider), self.engine.key, self.engine.address)
        server = Server(url, origin, headers, key, proxy_for(url))
        if self.wording.get_http_method().upper() == "GET":
            await fetch(self.session, server, exchange, timeout_seconds=timeout_seconds)
            return
        exchange.request_bytes = orjson.dumps(data)
        try:
            await post(self.session, server, "", exchange, timeout_seconds=timeout_seconds)
        finally:
            if key:  # some take it in the body
                exchange.request_bytes = exchange.request_bytes.replace(key.encode(), b"[key]")

    def _read(self, call: SearchCall, url: str, exchange: Exchange) -> ProviderReply:
        import httpx

        body = exchange.response_bytes or b""
        origin = Origin(call.model, litellm_place(self.provider), self.engine.key, self.engine.address)
        response = httpx.Response(200, content=body, request=httpx.Request(self.wording.get_http_method(), url))
        try:
            parsed = load_json(body)
            if self.engine.results and self.engine.results not in parsed:
                raise unreadable(origin, f"no {self.engine.results}")
            answer = self.wording.transform_search_response(response, logging_obj=SimpleNamespace(optional_params={}))
            found = [_result(item) for item in answer.results]
        except (ValueError, TypeError, KeyError, AttributeError, ValidationError) as error:
            raise unreadable(origin, type(error).__name__) from None  # which quotes the answer
        return ProviderReply(
            results=sift(found, call.domains, call.count),
            model=call.model,
            provider_cost_usd=_told_cost(parsed),
            provider_request_id=_told_id(parsed),
            request_bytes=exchange.request_bytes or b"",
            response_bytes=body,
        )


def _result(item: Any) -> WebResult:
    url = (item.url or "").strip()
    return WebResult(
        title=(item.title or "").strip(),
        url=url,
        snippet=(item.snippet or "").strip(),
        published_date=item.date or item.last_updated,
        source=host_of(url),
    )


def _told_cost(parsed: Any) -> Decimal | None:
    """Exa says what a search cost (`costDollars.total`, docs.exa.ai/reference/search)."""
    told = parsed.get("costDollars") if isinstance(parsed, dict) else None
    total = told.get("total") if isinstance(told, dict) else None
    return Decimal(repr(total)) if isinstance(total, int | float) and not isinstance(total, bool) else None


def _told_id(parsed: Any) -> str | None:
    named = parsed if isinstance(parsed, dict) else {}
    return next((named[name] for name in ("request_id", "requestId", "id") if isinstance(named.get(name), str)), None)


def litellm_search(session: aiohttp.ClientSession, litellm: ModuleType, provider: str) -> LiteLLMSearch:
    """The client for a provider of `ENGINES`; `litellm` is the loaded module."""
    from litellm.types.utils import SearchProviders
    from litellm.utils import ProviderConfigManager

    wording = ProviderConfigManager.get_provider_search_config(provider=SearchProviders(provider))
    return LiteLLMSearch(session, wording, provider)
