"""Spans and metrics of model calls, with the names of OpenTelemetry's GenAI conventions.

One span for each call, around all its attempts; what is ours alone (money, replays, the ledger's ids) is
under `headrace.`. Prompts and answers are left out unless the variable of the conventions asks for them.
Without OpenTelemetry's SDK set up, nothing here costs anything.

The conventions: https://opentelemetry.io/docs/specs/semconv/gen-ai/ (status: development; the names are
those since `gen_ai.provider.name` took the place of `gen_ai.system`).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from schemas.calls import CallKind, ChatCall, EmbeddingCall, ImageCall, ModelInfo, ProviderReply
from schemas.errors import HeadraceError
from tasks.ledger.scope import CallScope

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from tasks.ledger.gateway import CallOutcome

Attributes = dict[str, Any]

CAPTURE_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
ON_THE_SPAN = frozenset({"true", "span_only", "span_and_event"})
DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKEN_BUCKETS = tuple(float(4**power) for power in range(14))

OPERATIONS: dict[CallKind, str] = {"chat": "chat", "embedding": "embeddings", "image": "generate_content"}
PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""Providers that the conventions call otherwise than LiteLLM."""


class Observation(Protocol):
    """One call that is being observed."""

    def note(self, outcome: CallOutcome) -> None:
        """The call was answered, or replayed."""
        ...


class Telemetry:
    """Observes calls, if anybody listens."""

    def __init__(self, observer: Observer | None = None) -> None:
        self._observer = observer

    def observe(
        self, kind: CallKind, call: Any, model: ModelInfo, scope: CallScope
    ) -> AbstractContextManager[Observation]:
        """Around a call: an `Observation` to be told its outcome; an exception is noted by itself."""
        return _UNOBSERVED if self._observer is None else self._observer.observe(kind, call, model, scope)


class _Unobserved:
    def note(self, outcome: CallOutcome) -> None:
        """Nobody listens."""


_UNOBSERVED = nullcontext(_Unobserved())


class Observer:
    """Makes spans and metrics of calls.

    Args:
        tracers, meters: by default those set up for the process.
    """

    def __init__(self, tracers: TracerProvider | None = None, meters: MeterProvider | None = None) -> None:
        from opentelemetry import metrics, trace

        self._tracer = trace.get_tracer("headrace", tracer_provider=tracers)
        meter = metrics.get_meter("headrace", meter_provider=meters)
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )
        self._cost = meter.create_counter("headrace.cost_usd", unit="USD", description="Cost of calls, where known.")
        self._replays = meter.create_counter(
            "headrace.replays", unit="{call}", description="Calls replayed for nothing."
        )
        self._with_content = os.environ.get(CAPTURE_CONTENT, "").strip().lower() in ON_THE_SPAN

    @contextmanager
    def observe(self, kind: CallKind, call: Any, model: ModelInfo, scope: CallScope) -> Iterator[SpanObservation]:
        """Around a call; metrics are of calls that were made, so that replays do not pass for quick answers."""
        from opentelemetry.trace import SpanKind

        identity = _identity(kind, model)
        began = time.monotonic()
        with self._tracer.start_as_current_span(
            f"{identity['gen_ai.operation.name']} {model.model}",
            kind=SpanKind.CLIENT,
            attributes=identity,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            observation = SpanObservation(span)
            try:
                yield observation
            except BaseException as error:
                kind_of_error = _fail(span, error)
                self._duration.record(time.monotonic() - began, {**identity, "error.type": kind_of_error})
                raise
            finally:
                if span.is_recording():
                    span.set_attributes(_request(call) | _of_scope(scope))
                    self._note_content(span, call, observation.outcome)
            if observation.outcome is not None:
                self._measure(observation.outcome, identity, scope, time.monotonic() - began)

    def _measure(self, outcome: CallOutcome, identity: Attributes, scope: CallScope, seconds: float) -> None:
        if outcome.replayed:
            self._replays.add(1, {**identity, "headrace.project": scope.project})
            return
        answered = {**identity, "gen_ai.response.model": outcome.reply.model}
        self._duration.record(seconds, answered)
        if usage := outcome.reply.usage:
            self._tokens.record(usage.input_tokens, {**answered, "gen_ai.token.type": "input"})
            self._tokens.record(usage.output_tokens, {**answered, "gen_ai.token.type": "output"})
        if outcome.cost_usd is not None:
            self._cost.add(float(outcome.cost_usd), {**answered, "headrace.project": scope.project})

    def _note_content(self, span: Span, call: Any, outcome: CallOutcome | None) -> None:
        if not self._with_content or not isinstance(call, ChatCall):
            return
        asked = [_message(message.role, message.content) for message in call.messages]
        span.set_attribute("gen_ai.input.messages", json.dumps(asked))
        if outcome is not None:
            answer = _message("assistant", outcome.reply.text) | {"finish_reason": outcome.reply.finish_reason or ""}
            span.set_attribute("gen_ai.output.messages", json.dumps([answer]))


class SpanObservation:
    """A call with its span."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.outcome: CallOutcome | None = None

    def note(self, outcome: CallOutcome) -> None:
        """The call was answered, or replayed."""
        self.outcome = outcome
        if self._span.is_recording():
            self._span.set_attributes(_response(outcome.reply) | _of_outcome(outcome))


def _identity(kind: CallKind, model: ModelInfo) -> Attributes:
    """What is known beforehand; samplers and metrics go by it."""
    found: Attributes = {
        "gen_ai.operation.name": OPERATIONS.get(kind, kind),
        "gen_ai.provider.name": PROVIDERS.get(model.provider, model.provider),
        "gen_ai.request.model": model.model,
    }
    server = urlsplit(model.identity.partition("@")[2])
    if server.hostname:
        found["server.address"] = server.hostname
        found["server.port"] = server.port or (443 if server.scheme == "https" else 80)
    return found


def _request(call: Any) -> Attributes:
    if isinstance(call, EmbeddingCall):
        return _present({"gen_ai.embeddings.dimension.count": call.dimensions})
    if isinstance(call, ImageCall):
        return {"gen_ai.output.type": "image", "gen_ai.request.choice.count": call.n}
    if not isinstance(call, ChatCall):
        return {}
    parameters = call.parameters
    return _present(
        {
            "gen_ai.request.max_tokens": parameters.max_tokens,
            "gen_ai.request.temperature": parameters.temperature,
            "gen_ai.request.top_p": parameters.top_p,
            "gen_ai.request.seed": parameters.seed,
            "gen_ai.request.stop_sequences": list(parameters.stop) or None,
            "gen_ai.request.frequency_penalty": parameters.frequency_penalty,
            "gen_ai.request.presence_penalty": parameters.presence_penalty,
            "gen_ai.output.type": "json" if call.output_schema else None,
        }
    )


def _response(reply: ProviderReply) -> Attributes:
    usage = reply.usage
    return _present(
        {
            "gen_ai.response.model": reply.model,
            "gen_ai.response.finish_reasons": [reply.finish_reason] if reply.finish_reason else None,
            "gen_ai.usage.input_tokens": usage and usage.input_tokens,
            "gen_ai.usage.output_tokens": usage and usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage and usage.cached_input_tokens,
            "gen_ai.usage.cache_creation.input_tokens": usage and usage.cache_write_tokens,
            "gen_ai.usage.reasoning.output_tokens": usage and usage.reasoning_tokens,
        }
    )


def _of_scope(scope: CallScope) -> Attributes:
    return _present(
        {
            "headrace.project": scope.project,
            "headrace.purpose": scope.purpose,
            "headrace.run_id": str(scope.attempt.run_id) if scope.attempt else None,
        }
    )


def _of_outcome(outcome: CallOutcome) -> Attributes:
    return _present(
        {
            "headrace.request_id": str(outcome.request_id),
            "headrace.replayed": outcome.replayed,
            "headrace.cost_usd": None if outcome.cost_usd is None else float(outcome.cost_usd),
            "headrace.cost_source": outcome.cost_source,
        }
    )


def _present(attributes: Attributes) -> Attributes:
    return {name: value for name, value in attributes.items() if value is not None}


def _message(role: str, content: str) -> Attributes:
    """As in the conventions' JSON schemas of input and output messages."""
    return {"role": role, "parts": [{"type": "text", "content": content}]}


def _fail(span: Span, error: BaseException) -> str:
    """The span has failed; returns its `error.type`: the code of our error, of a last failure where it was one of many.

    Messages of foreign errors, which may quote a prompt, stay out.
    """
    from opentelemetry.trace import Status, StatusCode

    ours = isinstance(error, HeadraceError)
    found = str(error.details.get("last") or error.code) if isinstance(error, HeadraceError) else type(error).__name__
    if span.is_recording():
        span.set_attribute("error.type", found)
        span.set_status(Status(StatusCode.ERROR, str(error) if ours else None))
    return found
