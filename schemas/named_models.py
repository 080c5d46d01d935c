"""Named models: what a team calls a model, and what that name stands for.

A TOML file with one table for each name::

    [models.fast]
    model = "openai/gpt-4o-mini"                 # LiteLLM name; the only key that must be there
    api_base = "http://127.0.0.1:8000/v1"        # any OpenAI-compatible server, or the provider's own API elsewhere
    api_key_env = "FAST_API_KEY"                 # the variable that holds the key; never the key itself
    price = { input = 0.15, output = 0.60, cached_input = 0.075 }   # USD per million tokens
    context_window = 128000
    max_output_tokens = 16384
    limits = { requests_per_minute = 500, tokens_per_minute = 200000, parallel_calls = 8 }
    fallback = ["careful", "anthropic/claude-3-haiku-20240307"]

    [models.picture]
    model = "openai/flux"
    price_per_image = 0.04                       # USD; of a model that reranks, price_per_query
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

Price = Annotated[Decimal, Field(ge=0, lt=1_000_000, allow_inf_nan=False)]
Tokens = Annotated[int, Field(ge=1)]
Text = Annotated[str, StringConstraints(min_length=1, pattern=r"^\S+$")]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class TokenPrice(BaseModel):
    """USD per million tokens; a kind of input without a price of its own costs what input costs.

    Attributes:
        cached_input: input read from the provider's cache.
        cache_write: input written to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Price
    output: Price
    cached_input: Price | None = None
    cache_write: Price | None = None


class CallLimits(BaseModel):
    """What a model may be asked in a minute and at once; None is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: Tokens | None = None
    tokens_per_minute: Tokens | None = None
    parallel_calls: Tokens | None = None


class NamedModel(BaseModel):
    """What one name stands for.

    Attributes:
        model: LiteLLM name.
        api_base: where the provider is asked instead of at its usual address.
        api_key_env: environment variable with the key.
        price: takes the place of the price table and of what the provider says a call cost.
        price_per_image, price_per_query: USD, likewise, of a model that makes images and of one that reranks.
        fallback: who is asked instead, in order, where another model can help.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Text
    api_base: Text | None = None
    api_key_env: Text | None = None
    price: TokenPrice | None = None
    price_per_image: Price | None = None
    price_per_query: Price | None = None
    context_window: Tokens | None = None
    max_output_tokens: Tokens | None = None
    limits: CallLimits = CallLimits()
    fallback: tuple[Text, ...] = ()

    @property
    def provider(self) -> str:
        """What stands before the first slash of `model`; `openai` where there is none."""
        return self.model.partition("/")[0] if "/" in self.model else "openai"

    @field_validator("api_base")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"https?://[^/]", value):
            raise ValueError("must be an address that begins with http:// or https://")
        return value

    @field_validator("api_key_env")
    @classmethod
    def _is_variable(cls, value: str | None) -> str | None:
        if value is not None and not _VARIABLE.fullmatch(value):
            raise ValueError("must be the name of an environment variable, not the key itself")
        return value

    @model_validator(mode="after")
    def _has_an_address_of_its_own_only_where_that_is_heeded(self) -> Self:
        if self.provider == "local" and (self.api_base or self.api_key_env or self.price):
            raise ValueError("a model of this machine has neither api_base nor api_key_env nor price")
        if self.provider == "runpod" and (self.api_base or self.api_key_env):
            raise ValueError(
                "a RunPod queue has neither api_base nor api_key_env; RUNPOD_API_KEY and RUNPOD_ENDPOINT_BASE_URL "
                "hold for all of them"
            )
        return self


class ModelsFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: dict[str, NamedModel] = {}

    @model_validator(mode="after")
    def _names_lead_somewhere(self) -> Self:
        for name, named in self.models.items():
            if not NAME.fullmatch(name):
                raise ValueError(f"[models.{name!r}]: a name has letters, digits, '.', '_' and '-' only")
            for other in named.fallback:
                self._require_fallback(name, other)
            if len(set(named.fallback)) < len(named.fallback):
                raise ValueError(f"[models.{name}] fallback: every model is named once")
        return self

    def _require_fallback(self, name: str, other: str) -> None:
        if other == name:
            raise ValueError(f"[models.{name}] fallback: a model does not fall back on itself")
        if "/" not in other and other not in self.models:
            raise ValueError(
                f"[models.{name}] fallback: {other!r} is no table of this file; "
                "name one, or write a LiteLLM name with its provider (openai/gpt-4o-mini)"
            )
