"""OpenTelemetry spans for each rpc and its stages, if installed and configured.

Needs `pip install 'text2image[telemetry]'` and OTEL_EXPORTER_OTLP_ENDPOINT in the environment;
the standard's other variables work too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

from backend.transport.rpc.call import SERVICE_NAME, Call

log = structlog.get_logger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SERVER_FAULTS = ("INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE", "DEADLINE_EXCEEDED")


class Tracer:
    """Creates spans with the given OpenTelemetry tracer; does nothing without one."""

    def __init__(self, tracer: Any = None) -> None:
        self._tracer = tracer

    @contextmanager
    def span(self, call: Call, metadata: Mapping[str, str]) -> Iterator[None]:
        """Wrap an rpc; its result is read from `call` at the end."""
        if self._tracer is None:
            yield
            return
        from opentelemetry import propagate, trace

        with self._tracer.start_as_current_span(
            f"{SERVICE_NAME}/{call.method}",
            context=propagate.extract(dict(metadata)),
            kind=trace.SpanKind.SERVER,
            record_exception=False,  # the text could contain a prompt
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            finally:
                self._finish(span, call)

    def _finish(self, span: Any, call: Call) -> None:
        from opentelemetry.trace import Status, StatusCode

        span.set_attributes(
            {
                "rpc.system": "grpc",
                "rpc.service": SERVICE_NAME,
                "rpc.method": call.method,
                "rpc.response.status_code": call.code,
                "text2image.request_id": call.request_id,
                "text2image.model": call.model,
            }
        )
        if call.code in SERVER_FAULTS:
            span.set_status(Status(StatusCode.ERROR))
        if call.timings is not None:
            self._parts(call)

    def _parts(self, call: Call) -> None:
        """Child spans of the stages, one after another; the last ends now."""
        assert call.timings is not None
        timings = call.timings
        at_ns = time.time_ns() - round(timings.total_ms * 1e6)
        for name, ms in (
            ("queue", timings.queued_ms),
            ("encode", timings.encode_ms),
            ("denoise", timings.denoise_ms),
            ("decode", timings.decode_ms),
        ):
            part = self._tracer.start_span(name, start_time=at_ns)
            at_ns += round(ms * 1e6)
            part.end(end_time=at_ns)


def tracer_of_environment() -> Tracer:
    """A tracer configured by the environment, or one that does nothing."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return Tracer()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("no traces: OpenTelemetry is not installed", fix="pip install '.[telemetry]'")
        return Tracer()
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "text2image")})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    log.info("traces are exported", endpoint=next(filter(None, map(os.environ.get, ENDPOINTS))))
    return Tracer(provider.get_tracer("text2image"))
