"""`headrace models`: which models can be asked here, at what price, within what limits, and whether they answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict
from rich.console import Console

from blocks.embedded.presence import missing_weights
from blocks.providers import image_prices, rerank_prices
from blocks.providers.endpoints import LOCAL_MODELS
from blocks.providers.prices import price_per_million
from blocks.providers.registry import Providers
from blocks.settings import get_settings
from flows.presentation import console, money, table, write_json
from schemas.calls import ModelInfo
from schemas.errors import ConfigurationError
from schemas.named_models import CallLimits, TokenPrice
from schemas.rate_limits import effective_limits
from schemas.settings import ModelRole, Settings
from schemas.versions import purpose_of

ROLES: tuple[ModelRole, ...] = ("chat", "research", "generate", "review", "judge", "embedding")
TABLE_WIDTH = 180
"""Columns from which on a table has room for what there is to say."""
PRICE_COLUMN = "USD per million, in / out"
COLUMNS = ("model", "stands for", "default of", "price", "window / answer", "limits", "fallback")
Role = ModelRole | Literal["image", "rerank"]
SECONDS = 3.0
"""How long a provider is given to answer that it is there."""


class ModelLine(BaseModel):
    """One model that a setting or the file of named models speaks of.

    Attributes:
        name: as it is called; `model` is the LiteLLM name that it stands for.
        roles: the steps it is the default of.
        price: USD per million tokens; None where it is not known, or tokens are not what is billed.
        price_per_image, price_per_query: USD, of models that are billed so.
        limits: what holds for its calls, by its own table and else by the settings.
        trouble: why it cannot be called; None when it can.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    model: str
    provider: str
    place: str
    roles: list[Role]
    price: TokenPrice | None
    price_per_image: Decimal | None
    price_per_query: Decimal | None
    context_window: int | None
    max_output_tokens: int | None
    limits: CallLimits
    fallback: list[str]
    reachable: bool
    trouble: str | None


async def list_models() -> list[ModelLine]:
    """The default of every role, every named model, and their fallbacks; nothing is started and nothing paid.

    Raises:
        ConfigurationError: the file of named models is wrong.
    """
    settings = get_settings()
    async with Providers(settings, None) as providers:
        roles = _roles(settings)
        names = [*roles, *providers.named_models()]
        names += [other for named in providers.named_models().values() for other in named.fallback]
        unique = [name for name in dict.fromkeys(names) if purpose_of(name) is None]  # which `headrace versions` lists
        return list(await asyncio.gather(*(_line(providers, settings, name, roles) for name in unique)))


def _roles(settings: Settings) -> dict[str, list[Role]]:
    """The models in use with the roles they play; those for images and rankings where they are set."""
    models: dict[str, list[Role]] = {}
    for role in ROLES:
        models.setdefault(settings.model_for(role), []).append(role)
    if settings.image_model:
        models.setdefault(settings.image_model, []).append("image")
    if settings.rerank_model:
        models.setdefault(settings.rerank_model, []).append("rerank")
    return models


async def _line(providers: Providers, settings: Settings, name: str, roles: Mapping[str, Sequence[Role]]) -> ModelLine:
    known = providers.table_of(name)
    if known.local:
        trouble = _local_trouble(known, settings)
    else:
        trouble = await providers.reachable(name, timeout_seconds=SECONDS)
    trouble = _unfit(providers, name, roles.get(name, [])) or trouble
    image, ranking = image_prices.listed_price(known), rerank_prices.listed_price(known)
    by_token = (price for price in (price_per_million(known), image, ranking) if isinstance(price, TokenPrice))
    window = settings.local_context if known.litellm_model == "local/chat" else None
    return ModelLine(
        name=name,
        model=known.litellm_model,
        provider=known.provider,
        place=known.identity,
        roles=list(roles.get(name, [])),
        price=next(by_token, None),
        price_per_image=image if isinstance(image, Decimal) else None,
        price_per_query=ranking if isinstance(ranking, Decimal) else None,
        context_window=known.context_window or window,
        max_output_tokens=known.max_output_tokens,
        limits=CallLimits(**effective_limits(known, settings).model_dump()),
        fallback=list(known.fallback),
        reachable=trouble is None,
        trouble=trouble,
    )


def _unfit(providers: Providers, name: str, roles: Sequence[Role]) -> str | None:
    """Why the model cannot do what a setting has it for; None where it can."""
    try:
        for role in roles:
            if role in ("image", "rerank"):
                providers.require(role, name)
    except ConfigurationError as error:
        return str(error)
    return None


def _local_trouble(known: ModelInfo, settings: Settings) -> str | None:
    kind = LOCAL_MODELS.get(known.litellm_model)
    if kind is None:
        return f"there is no local model {known.litellm_model}; there are {' and '.join(LOCAL_MODELS)}"
    return missing_weights(kind, settings.cache, settings.local_model)


class _Models(BaseModel):
    run_id: None = None
    status: str = "completed"
    models: list[ModelLine]


def show_models(lines: Sequence[ModelLine], *, as_json: bool) -> int:
    """Each model and why one cannot be called; the exit code is 1 when the default of a role cannot."""
    failed = any(line.roles and line.trouble for line in lines)
    if as_json:
        write_json(_Models(status="failed" if failed else "completed", models=list(lines)))
        return int(failed)
    out = console()
    if out.width >= TABLE_WIDTH:
        _show_table(out, lines)
    else:
        _show_blocks(out, lines)
    return int(failed)


def _show_table(out: Console, lines: Sequence[ModelLine]) -> None:
    """A row a model, and below what is in the way of those that cannot be called."""
    rows = [(*_cells(line).values(), "yes" if line.reachable else "no") for line in lines]
    columns = [PRICE_COLUMN if name == "price" else name for name in COLUMNS]
    out.print(table("Models", (*columns, "reachable"), rows))
    for line in lines:
        if line.trouble:
            out.print(_naming(line), soft_wrap=True, markup=False)


def _show_blocks(out: Console, lines: Sequence[ModelLine]) -> None:
    """A model after the other, with what there is to say of it."""
    for line in lines:
        out.print(line.name, style="bold", markup=False, soft_wrap=True)
        said = {name: cell for name, cell in _cells(line).items() if cell and name != "model"}
        if "/" in said["price"]:
            said["price"] += " a million tokens, in / out"
        for name, cell in {**said, "reachable": f"no: {line.trouble}" if line.trouble else "yes"}.items():
            out.print(f"  {name:<15}  {cell}", markup=False, soft_wrap=True)


def _naming(line: ModelLine) -> str:
    """What is in the way of a model, with its name."""
    trouble = str(line.trouble)
    return trouble if trouble.startswith(f"{line.name} ") else f"{line.name}: {trouble}"


def _cells(line: ModelLine) -> dict[str, str]:
    """What is said of a model, by column; empty where there is nothing to say."""
    shown = (
        line.name,
        line.model if line.model != line.name else "",
        ", ".join(line.roles),
        _price(line),
        _tokens(line.context_window, line.max_output_tokens),
        _limits(line.limits),
        " → ".join(line.fallback),
    )
    return dict(zip(COLUMNS, shown, strict=True))


def _price(line: ModelLine) -> str:
    """Input and output, and cached input where it has a price of its own; or of what else is billed."""
    price = line.price
    if price is None:
        each = {"an image": line.price_per_image, "a query": line.price_per_query}
        return ", ".join(f"{money(usd)} {what}" for what, usd in each.items() if usd is not None) or "unknown"
    if price.input == price.output == 0:
        return "free"
    cached = price.cached_input
    between = f" ({money(cached)} cached)" if cached is not None and cached != price.input else ""
    return f"{money(price.input)}{between} / {money(price.output)}"


def _tokens(window: int | None, answer: int | None) -> str:
    """The context window, and how long an answer may be."""
    return " / ".join("unknown" if count is None else f"{count:,}" for count in (window, answer))


def _limits(limits: CallLimits) -> str:
    said = {
        "/min": limits.requests_per_minute,
        " tokens/min": limits.tokens_per_minute,
        " at once": limits.parallel_calls,
    }
    return ", ".join(f"{count:,}{unit}" for unit, count in said.items() if count is not None)
