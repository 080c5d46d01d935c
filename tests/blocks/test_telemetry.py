"""OpenTelemetry's SDK is set up as the usual variables say, and left alone where somebody else has set it up."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SET_UP = """
import logging, sys
logging.basicConfig(format="%(message)s", stream=sys.stderr)
from blocks.telemetry import set_up_telemetry
first, second = set_up_telemetry(), set_up_telemetry()
assert first == second
print(first, *(name for name in ("opentelemetry.sdk.trace", "opentelemetry.sdk.metrics") if name in sys.modules))
"""
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
NEEDS_SDK = pytest.mark.skipif(
    subprocess.run(
        [sys.executable, "-c", "import opentelemetry.exporter.otlp.proto.http"], capture_output=True
    ).returncode
    != 0,
    reason="OpenTelemetry's SDK and OTLP exporter are not installed",
)


def run(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A Python program in a process of its own, with these of all `OTEL_` variables."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=clean | variables, capture_output=True, text=True, check=True, timeout=60)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_SDK_DISABLED": "true", **ENDPOINT},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", **ENDPOINT},
    ],
    ids=["unset", "disabled", "none"],
)
def test_nothing_is_loaded_where_nothing_is_asked_for(variables: dict[str, str]) -> None:
    done = run(SET_UP, **variables)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_protocol_whose_exporter_is_missing_is_named() -> None:
    without = "import sys\nsys.modules['opentelemetry.exporter.otlp.proto.grpc'] = None\n"
    done = run(without + SET_UP, OTEL_EXPORTER_OTLP_PROTOCOL="grpc", **ENDPOINT)
    (said,) = done.stderr.splitlines()
    assert said.startswith("OTEL_* variables ask for an export, but opentelemetry.exporter")
    assert "is not installed: `pip install opentelemetry-sdk" in said


@NEEDS_SDK
def test_an_exporter_that_is_unknown_is_said_and_the_other_signal_is_exported() -> None:
    done = run(SET_UP, OTEL_TRACES_EXPORTER="jaeger", OTEL_METRICS_EXPORTER="console")
    assert done.stderr == "OTEL_TRACES_EXPORTER: 'jaeger' is none of otlp, console, none\n"
    assert done.stdout.startswith("True ")


SPAN = """
from opentelemetry import trace
with trace.get_tracer("test").start_as_current_span("a span"):
    pass
"""


@NEEDS_SDK
@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "headrace"),
        ({"OTEL_SERVICE_NAME": "mine"}, "mine"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=ours"}, "ours"),
    ],
    ids=["default", "service-name", "resource-attributes"],
)
def test_spans_say_whose_they_are(variables: dict[str, str], name: str) -> None:
    done = run(SET_UP + SPAN, OTEL_TRACES_EXPORTER="console", **variables)
    assert '"name": "a span"' in done.stdout
    assert f'"service.name": "{name}"' in done.stdout


OWN = """
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
tracers, meters = TracerProvider(), MeterProvider()
trace.set_tracer_provider(tracers)
metrics.set_meter_provider(meters)
"""
STILL_THERE = "assert trace.get_tracer_provider() is tracers and metrics.get_meter_provider() is meters\n"


@NEEDS_SDK
@pytest.mark.parametrize("variables", [{}, ENDPOINT], ids=["unset", "endpoint"])
def test_what_the_application_has_set_up_is_used_as_it_is(variables: dict[str, str]) -> None:
    done = run(OWN + SET_UP + STILL_THERE, **variables)
    assert done.stdout.startswith("True ")
    assert done.stderr == ""
