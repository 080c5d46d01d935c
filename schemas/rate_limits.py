"""How fast a model may be called."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from schemas.calls import ModelInfo
from schemas.named_models import CallLimits
from schemas.settings import Settings


class ModelLimits(BaseModel):
    """Limits of one model for one process; None where none is set, which means no limit.

    Attributes:
        requests_per_minute: calls begun in any 60 seconds.
        tokens_per_minute: tokens, read and written, of calls begun in any 60 seconds.
        parallel_calls: calls in flight at the same time.
    """

    model_config = ConfigDict(frozen=True)

    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    parallel_calls: int | None = Field(None, ge=1)


def with_own(limits: ModelLimits, own: CallLimits) -> ModelLimits:
    """`limits`, except where a named model's table says otherwise."""
    return ModelLimits(**(limits.model_dump() | own.model_dump(exclude_none=True)))


def effective_limits(model: ModelInfo, settings: Settings) -> ModelLimits:
    """What holds for calls of `model`: what its own table says, and else the settings."""
    whole = with_own(_limits_of(model.litellm_model, settings), model.limits)
    return shared(whole, settings.limit_share)


def shared(limits: ModelLimits, processes: int) -> ModelLimits:
    """The part of `limits` that each of `processes` may use; at least one call, without which it could do nothing."""
    if processes == 1:
        return limits
    parts = {name: limit and max(1, limit // processes) for name, limit in limits.model_dump().items()}
    return ModelLimits(**parts)


def limits_of(model: str, settings: Settings) -> ModelLimits:
    """The limits of `model`: those in the settings hold for every model that is not served by this machine."""
    return shared(_limits_of(model, settings), settings.limit_share)


def _limits_of(model: str, settings: Settings) -> ModelLimits:
    if model.startswith("local/"):
        return ModelLimits()
    return ModelLimits(
        requests_per_minute=settings.model_requests_per_minute or None,
        tokens_per_minute=settings.model_tokens_per_minute or None,
        parallel_calls=settings.model_parallel_calls or None,
    )
