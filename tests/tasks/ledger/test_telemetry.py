"""What OpenTelemetry hears of calls: the names of its GenAI conventions, and no content unless asked for."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from schemas.calls import ChatParameters
from schemas.errors import BadInput, ContentRefused, RetriesExhausted
from schemas.settings import Settings
from tasks.ledger.calls import complete, embed
from tasks.ledger.images import generate_image
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.session import Ledger
from tasks.ledger.telemetry import CAPTURE_CONTENT, Observer, Telemetry
from tests.scripted_provider import Fault, Reply, ScriptedProvider
from tests.tasks.ledger.conftest import Look

MODEL = "gpt-4o-mini"
USED = {"prompt_tokens": 20, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 5}}


@dataclass
class Heard:
    """What was exported."""

    spans: Any
    reader: Any

    @property
    def span(self) -> Any:
        """The one span that ended."""
        (span,) = self.spans.get_finished_spans()
        return span

    def points(self, name: str) -> list[Any]:
        """The data points of one metric."""
        data = self.reader.get_metrics_data()
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
        return [point for metric in metrics if metric.name == name for point in metric.data.data_points]


@pytest.fixture
def heard(ledger: Ledger) -> Iterator[Heard]:
    """Listens to the ledger."""
    pytest.importorskip("opentelemetry.sdk.trace", reason="OpenTelemetry's SDK is not installed")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider(metric_readers=[reader])
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    ledger.telemetry = Telemetry(Observer(tracers, meters))
    yield Heard(spans, reader)
    tracers.shutdown()
    meters.shutdown()


@pytest.mark.scripted(respond=lambda _: Reply("yes", usage=USED))
async def test_a_call_is_a_span_with_the_conventions_names(
    ledger: Ledger, heard: Heard, provider: ScriptedProvider
) -> None:
    parameters = ChatParameters(max_tokens=50, temperature=0.5, stop=("END",), seed=7)
    async with open_run(RunRequest(flow="f", subject="s", project="default", parameters={})) as run:
        answer = await complete("A private question?", model=MODEL, purpose="drafting", parameters=parameters)
    assert heard.span.name == "chat gpt-4o-mini"
    assert heard.span.kind.name == "CLIENT"
    assert answer.cost_usd is not None
    assert dict(heard.span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.response.model": answer.answered_model,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 20,
        "gen_ai.usage.output_tokens": 10,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "gen_ai.usage.reasoning.output_tokens": 0,
        "server.address": "127.0.0.1",
        "server.port": int(provider.url.split(":")[2].split("/")[0]),
        "headrace.project": "default",
        "headrace.purpose": "drafting",
        "headrace.run_id": str(run.id),
        "headrace.request_id": str(answer.request_id),
        "headrace.replayed": False,
        "headrace.cost_usd": float(answer.cost_usd),
        "headrace.cost_source": "price_table",
    }
    assert "private" not in heard.span.to_json()


@pytest.mark.scripted(respond=lambda _: Reply("yes", usage=USED))
async def test_metrics_are_of_calls_that_were_made(ledger: Ledger, heard: Heard) -> None:
    first = await complete("Why?", model=MODEL)
    again = await complete("Why?", model=MODEL)
    assert again.replayed
    (duration,) = heard.points("gen_ai.client.operation.duration")
    assert duration.count == 1, "a replay is no quick answer"
    assert duration.explicit_bounds[:2] == (0.01, 0.02)
    assert duration.attributes["gen_ai.response.model"] == first.answered_model
    tokens = heard.points("gen_ai.client.token.usage")
    assert {point.attributes["gen_ai.token.type"]: point.sum for point in tokens} == {"input": 20, "output": 10}
    assert tokens[0].explicit_bounds[-1] == 67108864
    assert [point.value for point in heard.points("headrace.cost_usd")] == [pytest.approx(float(first.cost_usd or 0))]
    assert [point.value for point in heard.points("headrace.replays")] == [1]
    assert [span.attributes["headrace.replayed"] for span in heard.spans.get_finished_spans()] == [False, True]
    assert heard.spans.get_finished_spans()[1].attributes["headrace.cost_usd"] == 0


async def test_an_image_is_generated_content_without_its_prompt(
    ledger: Ledger, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise ContentRefused("by its content rules")

    monkeypatch.setattr(ledger.providers, "image", refuse)
    with pytest.raises(ContentRefused):
        await generate_image("a private mill", model="gpt-image-2", n=2)
    assert heard.span.name == "generate_content gpt-image-2"
    assert heard.span.attributes["gen_ai.output.type"] == "image"
    assert heard.span.attributes["gen_ai.request.choice.count"] == 2
    assert heard.span.attributes["error.type"] == "content_refused"
    assert "private" not in heard.span.to_json()


async def test_an_embedding_is_an_operation_of_its_own(ledger: Ledger, heard: Heard) -> None:
    await embed(["a text"], model="text-embedding-3-small", dimensions=8)
    assert heard.span.name == "embeddings text-embedding-3-small"
    assert heard.span.attributes["gen_ai.operation.name"] == "embeddings"
    assert heard.span.attributes["gen_ai.embeddings.dimension.count"] == 8
    assert "gen_ai.request.max_tokens" not in heard.span.attributes


@pytest.mark.scripted(faults={1: Fault("status", status=400, code="odd")})
async def test_a_failure_has_its_class_and_our_message(ledger: Ledger, heard: Heard) -> None:
    with pytest.raises(BadInput):
        await complete("A private question?", model=MODEL)
    assert heard.span.attributes["error.type"] == "bad_input"
    assert heard.span.status.status_code.name == "ERROR"
    assert "rejects the request" in heard.span.status.description
    assert heard.span.events == ()
    assert "private" not in heard.span.to_json()
    (duration,) = heard.points("gen_ai.client.operation.duration")
    assert duration.attributes["error.type"] == "bad_input"
    assert heard.points("gen_ai.client.token.usage") == []


@pytest.mark.scripted(faults={1: Fault("status", status=500), 2: Fault("status", status=500)})
async def test_attempts_that_failed_are_within_the_span_of_the_call(
    ledger: Ledger, heard: Heard, no_pauses: None, look: Look
) -> None:
    await complete("Why?", model=MODEL)
    assert "error.type" not in heard.span.attributes
    assert look("SELECT count(*) FROM llm_requests") == [(3,)]


@pytest.mark.scripted(faults={1: Fault("status", status=429, retry_after=3600)})
async def test_spent_retries_are_named_after_their_last_cause(ledger: Ledger, heard: Heard) -> None:
    with pytest.raises(RetriesExhausted):
        await complete("Why?", model=MODEL)
    assert heard.span.attributes["error.type"] == "rate_limited"


async def test_a_call_that_is_cancelled_ends_its_span(ledger: Ledger, heard: Heard, provider: ScriptedProvider) -> None:
    provider.hold()
    call = asyncio.create_task(complete("Why?", model=MODEL))
    await provider.held(1)
    call.cancel()
    await asyncio.wait([call])
    assert heard.span.attributes["error.type"] == "CancelledError"
    assert heard.span.status.description is None


@pytest.mark.parametrize("choice", ["true", "SPAN_ONLY", "span_and_event", "EVENT_ONLY", "no_content", ""])
async def test_content_is_there_only_where_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, ledger: Ledger, request: pytest.FixtureRequest, choice: str
) -> None:
    monkeypatch.setenv(CAPTURE_CONTENT, choice)
    heard = request.getfixturevalue("heard")
    answer = await complete("A private question?", model=MODEL)
    if choice in ("true", "SPAN_ONLY", "span_and_event"):
        assert json.loads(heard.span.attributes["gen_ai.input.messages"]) == [
            {"role": "user", "parts": [{"type": "text", "content": "A private question?"}]}
        ]
        assert json.loads(heard.span.attributes["gen_ai.output.messages"]) == [
            {"role": "assistant", "parts": [{"type": "text", "content": answer.text}], "finish_reason": "stop"}
        ]
    else:
        assert "private" not in heard.span.to_json()
        assert answer.text not in heard.span.to_json()


CALLS = """
import asyncio
from tasks.ledger.calls import complete
async def ask():
    for _ in range(2):
        print((await complete("Why?", model="gpt-4o-mini")).text)
asyncio.run(ask())
"""


@dataclass
class Collector:
    """An OTLP collector on loopback, which keeps the bodies it is sent."""

    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Takes what is sent to it (OTLP 1.x, "OTLP/HTTP Request": POST of protobuf to /v1/traces and /v1/metrics)."""
    kept = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield kept
    server.shutdown()
    server.server_close()


def run_calls(**variables: str) -> subprocess.CompletedProcess[str]:
    """Two calls in a process of their own, under these variables."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", CALLS], env=clean | variables, capture_output=True, text=True, check=True, timeout=120
    )


def test_calls_are_exported_over_http_where_the_environment_says_so(
    settings: Settings, provider: ScriptedProvider, collector: Collector
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the OTLP exporter is not installed")
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    run_calls(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    spans, metrics = [], set()
    for path, body in collector.bodies:
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                assert 'string_value: "headrace"' in str(resource.resource)
                spans += [span for scope in resource.scope_spans for span in scope.spans]
        else:
            assert path == "/v1/metrics"
            for measured in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                metrics |= {metric.name for scope in measured.scope_metrics for metric in scope.metrics}
    assert [span.name for span in spans] == ["chat gpt-4o-mini"] * 2
    replayed = [pair.value.bool_value for span in spans for pair in span.attributes if pair.key == "headrace.replayed"]
    assert replayed == [False, True]
    assert metrics >= {
        "gen_ai.client.operation.duration",
        "gen_ai.client.token.usage",
        "headrace.cost_usd",
        "headrace.replays",
    }
    assert provider.paid == 1


WITHOUT_EXPORTER = "import sys\nsys.modules['opentelemetry.exporter'] = None\nsys.modules['opentelemetry.sdk'] = None\n"


def test_what_is_not_installed_is_said_in_a_line_and_work_goes_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "CALLS", WITHOUT_EXPORTER + CALLS)
    done = run_calls(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert len(done.stdout.splitlines()) == 2
    (said,) = done.stderr.strip().splitlines()
    assert "is not installed: `pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http`" in said
    assert collector.bodies == []


NOTHING_IMPORTED = CALLS + "import sys\nprint([name for name in sys.modules if name.startswith('opentelemetry')])\n"


def test_without_the_variables_nothing_is_imported(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "CALLS", NOTHING_IMPORTED)
    assert run_calls().stdout.splitlines()[-1] == "[]"
