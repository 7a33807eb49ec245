from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from backend.transport.http import upstream
from proto import text2image_pb2 as pb
from tests.support.fake_service import Failure, FakeService
from tests.support.http_front import GENERATE, STATUS, STREAM, front


async def test_an_unexpected_error_tells_nothing_and_is_logged(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*args: Any) -> None:
        raise ValueError("secret /etc/path")

    monkeypatch.setattr(upstream.Upstream, "call", broken)
    with caplog.at_level(logging.ERROR):
        answer = await http.post(STATUS, json={})
    assert answer.status_code == 500
    assert answer.json() == {"code": "internal", "message": "internal error"}
    assert "secret" in caplog.text


async def test_pages_of_other_origins_are_refused(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    headers = {"origin": "https://evil.example"}
    answer = await http.get(STREAM, params={"message": '{"prompt": "a"}'}, headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert service.requests == []


async def test_our_own_pages_may_call(http: httpx.AsyncClient) -> None:
    origin = str(http.base_url).rstrip("/")
    answer = await http.post(STATUS, json={}, headers={"origin": origin})
    assert answer.status_code == 200


async def test_cors_is_for_the_configured_origins_alone(service: FakeService) -> None:
    async with front(service, cors_origins=["https://studio.example"]) as http:
        preflight = {"access-control-request-method": "POST", "origin": "https://studio.example"}
        asked = await http.options(GENERATE, headers=preflight)
        good = await http.post(STATUS, json={}, headers={"origin": "https://studio.example"})
        bad = await http.post(STATUS, json={}, headers={"origin": "https://evil.example"})
    assert asked.headers["access-control-allow-origin"] == "https://studio.example"
    assert (good.status_code, bad.status_code) == (200, 403)
    assert good.headers["access-control-allow-origin"] == "https://studio.example"
    assert "Retry-After" in good.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in bad.headers


async def test_liveness_and_readiness(http: httpx.AsyncClient, service: FakeService) -> None:
    assert (await http.get("/readyz")).status_code == 200
    service.set_serving(False)
    assert (await http.get("/healthz")).status_code == 200
    assert (await http.get("/readyz")).status_code == 503
    await asyncio.to_thread(service.stop)
    assert (await http.get("/healthz")).status_code == 200
    assert (await http.get("/readyz")).status_code == 503


async def test_metrics_are_the_status_in_prometheus_words(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.status.counters.CopyFrom(
        pb.GetStatusResponse.Counters(received=9, completed=5, rejected=4, images=7)
    )
    service.status.resources.gpus.add(name="H200", memory_used_bytes=11)
    service.status.histograms.add(name="step_seconds", bounds=[0.5, 1], counts=[2, 3, 4], sum=9.5)
    text = (await http.get("/metrics")).text
    families = text_string_to_metric_families(text)
    samples = {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}
    assert samples["text2image_requests_total", "completed"] == 5
    assert samples["text2image_requests_total", "rejected"] == 4
    assert samples["text2image_images_total",] == 7
    assert samples["text2image_queue_capacity",] == 64
    assert samples["text2image_gpu_memory_used_bytes", "0", "H200"] == 11
    assert samples["text2image_ready",] == 1
    buckets = [samples["text2image_step_seconds_bucket", le] for le in ("0.5", "1.0", "+Inf")]
    assert buckets == [2, 5, 9]
    assert samples["text2image_step_seconds_count",] == 9
    assert samples["text2image_step_seconds_sum",] == 9.5


async def test_metrics_need_the_key_that_status_needs(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.status_failure = Failure(grpc.StatusCode.UNAUTHENTICATED, "Who are you?")
    answer = await http.get("/metrics")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
