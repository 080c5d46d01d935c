"""The way to every search provider, by the name of its model."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import lru_cache
from types import ModuleType

import aiohttp

from blocks.providers.exchange import Exchange
from blocks.search import zai
from blocks.search.catalogue import ENGINES
from blocks.search.litellm_search import litellm_place, litellm_search
from schemas.calls import ModelInfo, ProviderReply, SearchCall
from schemas.errors import ConfigurationError
from schemas.settings import Settings

LITELLM_ENGINE = "search"


class SearchEngines:
    """Searches the web, once per call, for one event loop.

    Args:
        session: gives the HTTP session to use.
        litellm: gives LiteLLM, loaded when a provider of its own is first asked.
    """

    def __init__(
        self,
        settings: Settings,
        session: Callable[[], aiohttp.ClientSession],
        litellm: Callable[[], Awaitable[ModuleType]],
    ) -> None:
        self._settings = settings
        self._session = session
        self._litellm = litellm

    def describe(self, model: str) -> ModelInfo:
        """What is known of `PROVIDER/ENGINE`; its identity names another address than the usual one.

        Raises:
            ConfigurationError: there is no such provider.
        """
        provider, _, engine = model.partition("/")
        if provider == "zai" and engine:
            place = zai.zai_place(self._settings)
        elif provider in ENGINES and engine == LITELLM_ENGINE:
            _read_environment_file()
            place = litellm_place(provider)
        else:
            raise no_such_provider(model)
        return ModelInfo(model=model, provider=provider, identity=f"{place}/{engine}")

    def require(self, model: str) -> None:
        """What the provider of `model` needs is set; nobody is asked.

        Raises:
            ConfigurationError: it is not, or there is no such provider.
        """
        provider = self.describe(model).provider
        if provider == "zai":
            zai.zai_key(self._settings, model)
        elif any(not os.environ.get(name) for name in ENGINES[provider].needs):
            raise ConfigurationError(f"{provider} needs {' and '.join(ENGINES[provider].needs)} to be set", model=model)

    async def search(
        self, call: SearchCall, *, timeout_seconds: float, exchange: Exchange | None = None
    ) -> ProviderReply:
        """What the provider finds for `call`; `exchange` holds both bodies, also when it fails.

        Raises:
            ConfigurationError: a key, an address or the provider's name is missing or wrong.
            BadInput: the provider cannot do what is asked of it.
            ContentRefused: it does not answer this query.
            RateLimited: wait `retry_after` seconds.
            ProviderUnavailable: refused, failed or unreachable, or an answer that is none.
            ProviderTimeout: sent, and no whole answer in time: it may cost.
        """
        exchange = Exchange() if exchange is None else exchange
        provider = self.describe(call.model).provider
        if provider == "zai":
            client = zai.zai_search(self._session(), self._settings, call.model)
            return await client.search(call, exchange, timeout_seconds)
        other = litellm_search(self._session(), await self._litellm(), provider)
        return await other.search(call, exchange, timeout_seconds)


def model_of(provider: str) -> str:
    """The model that a provider's name stands for: `zai/search-prime`, `tavily/search`; whole names stay."""
    if "/" in provider:
        return provider
    return f"zai/{zai.ENGINE}" if provider == "zai" else f"{provider}/{LITELLM_ENGINE}"


def takes_recency(model: str) -> bool:
    """True when the provider of `model` can confine a search to recent pages."""
    provider = model.partition("/")[0]
    return provider == "zai" or (provider in ENGINES and ENGINES[provider].recency is not None)


def no_such_provider(name: str) -> ConfigurationError:
    """The error for a provider nobody knows; says which there are."""
    return ConfigurationError(f"there is no search provider {name}; there are zai, {', '.join(ENGINES)}", model=name)


@lru_cache(maxsize=1)
def _read_environment_file() -> None:
    """Variables of a `.env` in the working folder are in the environment, where LiteLLM reads keys and addresses."""
    import dotenv

    dotenv.load_dotenv(".env")
