"""Spans of rpcs: their parents, their attributes, and what they omit."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from backend.transport.rpc import server
from backend.transport.tracing import ENDPOINTS, Tracer, tracer_of_environment
from tests.support.http_front import GENERATE, front
from tests.support.served import ask, refusal_of, served

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
SECRET = "a prompt that is nobody's business"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = Tracer(provider.get_tracer("test"))
    monkeypatch.setattr(server, "tracer_of_environment", lambda: tracer)
    return exporter


def named(spans: InMemorySpanExporter, name: str) -> Any:
    [found] = [span for span in spans.get_finished_spans() if span.name == name]
    return found


async def test_a_request_and_its_parts(spans: InMemorySpanExporter) -> None:
    async with served() as running:
        metadata = (("traceparent", PARENT),)
        await running.stub.GenerateImage(
            ask(SECRET, request_id="mine"), timeout=30, metadata=metadata
        )
    whole = named(spans, "text2image.Text2ImageService/GenerateImage")
    assert f"{whole.context.trace_id:032x}" == TRACE
    assert whole.attributes["rpc.response.status_code"] == "OK"
    assert whole.attributes["text2image.request_id"] == "mine"
    for part in ("queue", "encode", "denoise", "decode"):
        assert named(spans, part).parent.span_id == whole.context.span_id
    assert named(spans, "queue").end_time <= named(spans, "denoise").start_time
    assert SECRET not in "".join(span.to_json() for span in spans.get_finished_spans())


async def test_a_refusal_is_no_fault_of_the_server(spans: InMemorySpanExporter) -> None:
    async with served() as running:
        error = await refusal_of(running.stub.GenerateImage(ask(height=7), timeout=30))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    whole = named(spans, "text2image.Text2ImageService/GenerateImage")
    assert whole.attributes["rpc.response.status_code"] == "INVALID_ARGUMENT"
    assert whole.status.is_unset


async def test_over_http_the_trace_goes_on(spans: InMemorySpanExporter) -> None:
    async with served() as running, front(running.server.local_target) as http:
        fox = {"prompt": "a fox", "num_inference_steps": 3}
        for parent in (PARENT, "nonsense"):
            answer = await http.post(GENERATE, json=fox, headers={"traceparent": parent})
            assert answer.status_code == 200
    first, second = [s for s in spans.get_finished_spans() if s.name.endswith("GenerateImage")]
    assert f"{first.context.trace_id:032x}" == TRACE
    assert second.parent is None


def test_without_an_endpoint_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    assert tracer_of_environment()._tracer is None
    monkeypatch.setenv(ENDPOINTS[0], "http://127.0.0.1:9")
    assert tracer_of_environment()._tracer is not None
