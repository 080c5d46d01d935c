"""Making images: recorded, reserved, settled and replayed as every call of a model is.

>>> made = await generate_image("a mill by a stream", model="gpt-image-2", size="1024x1024", quality="low")
>>> Path("mill.png").write_bytes(made.images[0].data), made.cost_usd, made.request_id
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.calls import CostSource, GeneratedImage, ImageCall, Usage
from schemas.errors import BadInput, ConfigurationError
from schemas.settings import Settings
from tasks.ledger.fallbacks import answer_or_fall_back
from tasks.ledger.scoping import require_unicode, scope_of
from tasks.ledger.session import open_ledger

DEFAULT_MODEL = "gpt-image-2"
LONGEST_PROMPT = 32_000
"""Characters that OpenAI takes; others take fewer."""


class Images(BaseModel):
    """The images that were made and what they cost; `request_id` is what feedback refers to.

    Attributes:
        images: at least one, and no more than were asked for; `data` of each has its bytes.
        model: the model that was called, by the name it was called by.
        fallback_for: the model that was asked for, where that one could not answer.
    """

    model_config = ConfigDict(frozen=True)

    images: tuple[GeneratedImage, ...]
    request_id: UUID
    model: str
    answered_model: str
    usage: Usage | None
    cost_usd: Decimal | None
    cost_source: CostSource
    replayed: bool
    latency_ms: int
    fallback_for: str | None = None


async def generate_image(
    prompt: str,
    *,
    model: str | None = None,
    size: str | None = None,
    quality: str | None = None,
    n: int = 1,
    project: str | None = None,
    user: str | None = None,
    purpose: str | None = None,
    repetition: int = 0,
    context: dict[str, Any] | None = None,
    max_age: timedelta | None = None,
) -> Images:
    """Images of what `prompt` says, paid for at most once.

    Args:
        model: LiteLLM name or named model; by default HEADRACE_IMAGE_MODEL, or `gpt-image-2` with an OpenAI key.
        size: `1024x1024` and the like, in pixels; the provider's choice when not given.
        quality: in the provider's words (`low`, `medium`, `high`); the provider's choice when not given.
        n: how many, from 1 to 10.
        project, user, purpose, repetition, context, max_age: as in `complete`.

    Raises:
        BadInput: a size or number that there is not, or the provider found the request wrong.
        BudgetExceeded: no budget has room for the worst case; nothing was spent.
        ConfigurationError: no model is set, or one that makes no images; a wrong key; no known price under a budget.
        ContentRefused: the provider does not make such an image.
        AnswerRejected: it made one that cannot be fetched from where it put it.
        RetriesExhausted: the provider failed too often; call again later.
    """
    async with open_ledger() as ledger:
        call = image_call(prompt, model or image_model(ledger.settings), size, quality, n)
        ledger.providers.require("image", call.model)
        scope = scope_of(ledger, project, user, purpose, repetition, context, max_age)
        outcome = await answer_or_fall_back(ledger, call, scope)
    reply = outcome.reply
    return Images(
        images=reply.images or (),
        request_id=outcome.request_id,
        model=outcome.model,
        answered_model=reply.model,
        usage=reply.usage,
        cost_usd=outcome.cost_usd,
        cost_source=outcome.cost_source,
        replayed=outcome.replayed,
        latency_ms=outcome.latency_ms,
        fallback_for=outcome.fallback_for,
    )


def image_model(settings: Settings) -> str:
    """The model that makes images where the caller names none.

    Raises:
        ConfigurationError: none is set, and the models of this machine make none.
    """
    if settings.image_model:
        return settings.image_model
    if settings.has_openai:
        return DEFAULT_MODEL
    raise ConfigurationError(
        f"no model that makes images is set: set HEADRACE_IMAGE_MODEL, for instance to {DEFAULT_MODEL} with "
        "OPENAI_API_KEY",
        setting="HEADRACE_IMAGE_MODEL",
    )


def image_call(prompt: str, model: str, size: str | None = None, quality: str | None = None, n: int = 1) -> ImageCall:
    """The call for these arguments of `generate_image`.

    Raises:
        BadInput: one of them is none that there is; the message says which, and what would be right.
    """
    if not prompt.strip():
        raise BadInput("there is no prompt: say what the image shall show")
    if len(prompt) > LONGEST_PROMPT:
        raise BadInput(f"the prompt has {len(prompt)} characters; no model takes more than {LONGEST_PROMPT}")
    require_unicode([prompt])
    try:
        return ImageCall(model=model, prompt=prompt, size=size, quality=quality, n=n)
    except ValidationError as error:
        raise BadInput(_RIGHT[str(error.errors()[0]["loc"][0])]) from None


_RIGHT = {
    "size": "the size of an image is its width and height in pixels, like 1024x1024, or auto",
    "quality": "the quality of an image is a word like low, medium, high or auto",
    "n": "one request makes from 1 to 10 images",
}
