"""Where spans and metrics go: OpenTelemetry's SDK, set up from the usual `OTEL_*` variables.

Nothing is imported, and nothing happens, unless one of the variables names an exporter or the
application has set the SDK up itself; what it has set up is used as it is.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from dataclasses import dataclass
from importlib import import_module
from typing import Any

log = logging.getLogger(__name__)

SERVICE_NAME = "headrace"
TO_INSTALL = "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
"""For `OTEL_EXPORTER_OTLP_PROTOCOL=grpc` the package ends in `-grpc`; the name of what is missing says so."""
_setting_up = threading.Lock()
_tried: set[str] = set()


@dataclass(frozen=True)
class Signal:
    """Traces or metrics, and the names of their parts in the SDK."""

    name: str
    api: str
    sdk: str
    provider: str
    exporter_module: str
    exporter: str

    @property
    def exporters(self) -> str | None:
        """What is to export it, as `OTEL_…_EXPORTER` says it, or None where nothing is."""
        said = os.environ.get(f"OTEL_{self.name.upper()}_EXPORTER", "").strip().lower()
        if said:
            return None if said == "none" else said
        endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{self.name.upper()}_ENDPOINT")
        return "otlp" if any(os.environ.get(endpoint) for endpoint in endpoints) else None

    @property
    def protocol(self) -> str:
        """`grpc` or `http`; protobuf over HTTP where nothing else is said."""
        general = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
        said = os.environ.get(f"OTEL_EXPORTER_OTLP_{self.name.upper()}_PROTOCOL") or general
        return "grpc" if said == "grpc" else "http"


TRACES = Signal(
    name="traces",
    api="opentelemetry.trace",
    sdk="opentelemetry.sdk.trace",
    provider="TracerProvider",
    exporter_module="trace_exporter",
    exporter="SpanExporter",
)
METRICS = Signal(
    name="metrics",
    api="opentelemetry.metrics",
    sdk="opentelemetry.sdk.metrics",
    provider="MeterProvider",
    exporter_module="metric_exporter",
    exporter="MetricExporter",
)


def set_up_telemetry() -> bool:
    """True when spans and metrics go somewhere; the exporters that the environment names are set up, once.

    Where something is missing, a line of the log says what to install, and work goes on.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    with _setting_up:
        wanted = [signal for signal in (TRACES, METRICS) if signal.exporters and signal.name not in _tried]
        _tried.update(signal.name for signal in wanted)
        missing = {name for signal in wanted if (name := _missing_for(signal))}
    if missing:
        log.warning(
            "OTEL_* variables ask for an export, but %s is not installed: `%s`",
            " and ".join(sorted(missing)),
            TO_INSTALL,
        )
    return "opentelemetry.sdk" in sys.modules


def _missing_for(signal: Signal) -> str | None:
    """The module that is missing to export the signal; None once it is exported."""
    try:
        _set_up(signal)
    except ImportError as error:
        return error.name
    return None


def _set_up(signal: Signal) -> None:
    if _is_set_up(signal):
        return
    exporter = _exporter(signal)
    if exporter is None:
        log.warning("OTEL_%s_EXPORTER: %r is none of otlp, console, none", signal.name.upper(), signal.exporters)
        return
    api, sdk, export = import_module(signal.api), import_module(signal.sdk), import_module(f"{signal.sdk}.export")
    if signal is TRACES:
        tracers = sdk.TracerProvider(resource=_resource())
        tracers.add_span_processor(export.BatchSpanProcessor(exporter))
        api.set_tracer_provider(tracers)
    else:
        reader = export.PeriodicExportingMetricReader(exporter)
        api.set_meter_provider(sdk.MeterProvider(resource=_resource(), metric_readers=[reader]))


def _is_set_up(signal: Signal) -> bool:
    """True when the application has set a provider of its own."""
    sdk = sys.modules.get(signal.sdk)
    if sdk is None:
        return False
    api = import_module(signal.api)
    present = api.get_tracer_provider() if signal is TRACES else api.get_meter_provider()
    return isinstance(present, getattr(sdk, signal.provider))


def _exporter(signal: Signal) -> Any:
    """The exporter the environment names; None where it is one that we do not know."""
    if signal.exporters == "console":
        return getattr(import_module(f"{signal.sdk}.export"), f"Console{signal.exporter}")()
    if signal.exporters != "otlp":
        return None
    module = import_module(f"opentelemetry.exporter.otlp.proto.{signal.protocol}.{signal.exporter_module}")
    return getattr(module, f"OTLP{signal.exporter}")()


def _resource() -> Any:
    """Who we are; what the environment says of it goes first."""
    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = import_module("opentelemetry.sdk.resources").Resource
    return resource.create({} if named else {"service.name": SERVICE_NAME})
