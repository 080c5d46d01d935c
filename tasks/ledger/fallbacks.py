"""Asking another model where the one asked for cannot answer and another can.

The chain of a named model (`fallback` of its table) is gone through in order; chains of the models in it
are not. Each model is a call of its own: its key, its row, its reservation, its price, its retries. Another
model is asked

- when the provider could not be reached, failed, timed out or limited us until the retries were spent;
- when the prompt does not fit the context window, and the next model is known to have a larger one;
- when the provider has no such model (any more), or the account there has no credit left.

It is not asked

- for `AuthenticationFailed` and other settings to mend: nobody would see the mistake, while another is paid;
- for `ContentRefused`: whether to take the question elsewhere is for the caller to decide;
- for `BadInput` and `AnswerRejected`: what is wrong stays wrong; for `BudgetExceeded`: a wall is no detour;
- for a call that was cancelled, or a ledger that cannot be reached;
- for embeddings: vectors of another model cannot be compared.
"""

from __future__ import annotations

from dataclasses import replace

from schemas.calls import ChatCall, ImageCall, ModelInfo, RerankCall
from schemas.errors import (
    ContextLengthExceeded,
    CreditExhausted,
    HeadraceError,
    ModelNotFound,
    RetriesExhausted,
    TransientError,
)
from tasks.ledger.gateway import CallOutcome, answer_call
from tasks.ledger.scope import CallScope
from tasks.ledger.session import Ledger

Substitutable = ChatCall | ImageCall | RerankCall
"""Calls whose answer another model can give as well."""
ANOTHER_MAY_HELP = (RetriesExhausted, ContextLengthExceeded, CreditExhausted, ModelNotFound)


async def answer_or_fall_back(ledger: Ledger, call: Substitutable, scope: CallScope) -> CallOutcome:
    """As `answer_call`, by the first model of the chain that can; the outcome says which, its row says for whom.

    Raises:
        RetriesExhausted: none of several could; `details["models"]` says which were asked. With one, its own error.
        HeadraceError: as `answer_call`, where another model cannot help.
    """
    failed: dict[str, HeadraceError] = {}
    asked = await ledger.providers.describe(call.model)
    waiting = list(asked.fallback)
    model, tried = asked, (call, scope)
    while True:
        try:
            outcome = await answer_call(ledger, *tried)
            return replace(outcome, fallback_for=asked.model) if failed else outcome
        except ANOTHER_MAY_HELP as error:
            failed[model.model] = error
            following = await _next(ledger, waiting, model, error)
            if following is None:
                raise _none_could(failed, error) from error.__cause__
        model = following
        why = failed[asked.model]
        tried = (_fitted(call, model), as_fallback(scope, asked.model, why))


def as_fallback(scope: CallScope, asked_for: str, why: HeadraceError | None = None) -> CallScope:
    """`scope` with a note for the row: which model was asked for, and the code of why it did not answer."""
    note = {"fallback_for": asked_for} | ({"fallback_because": _code(why)} if why else {})
    return replace(scope, context={**(scope.context or {}), **note}, version=None)


def _fitted(call: Substitutable, model: ModelInfo) -> Substitutable:
    """`call` as `model` takes it."""
    return fitted_chat(call, model) if isinstance(call, ChatCall) else call.model_copy(update={"model": model.model})


def fitted_chat(call: ChatCall, model: ModelInfo) -> ChatCall:
    """`call` as `model` takes it: no longer an answer than it gives, no sampling where it chooses its own."""
    parameters: dict[str, object] = {}
    if model.max_output_tokens is not None:
        parameters["max_tokens"] = min(call.parameters.max_tokens, model.max_output_tokens)
    if model.reasoning:
        parameters |= dict.fromkeys(("temperature", "top_p", "frequency_penalty", "presence_penalty"))
    return call.model_copy(
        update={"model": model.model, "parameters": call.parameters.model_copy(update=parameters)},
    )


def _code(error: HeadraceError) -> str:
    """The code of what the retries were spent on, rather than that they were."""
    return error.__cause__.code if isinstance(error.__cause__, TransientError) else error.code


async def _next(ledger: Ledger, waiting: list[str], failed: ModelInfo, error: HeadraceError) -> ModelInfo | None:
    """The first of those waiting whom it makes sense to ask; they wait no longer, nor those before."""
    while waiting:
        candidate = await ledger.providers.describe(waiting.pop(0))
        if not isinstance(error, ContextLengthExceeded) or (candidate.context_window or 0) > (
            failed.context_window or 0
        ):
            return candidate
    return None


def _none_could(failed: dict[str, HeadraceError], last: HeadraceError) -> HeadraceError:
    """The error itself where only one model was asked."""
    if len(failed) == 1:
        return last
    each = "; ".join(f"{name}: {error}" for name, error in failed.items())
    first = next(iter(failed))
    return RetriesExhausted(
        f"neither {first} nor its fallbacks could answer: {each}", models=list(failed), last=_code(last)
    )
