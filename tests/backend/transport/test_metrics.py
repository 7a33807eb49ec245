"""Logs and metrics: a line for each request, but never a prompt."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from backend import logs
from backend.transport.http import create_app, serve_http
from tests.support.fakes import FakeModel, Gate
from tests.support.http_front import GENERATE, IMAGES, STATUS
from tests.support.served import Served, ask, refusal_of, served, until

KEY = "0123456789abcdef"
SECRET = "a prompt that is nobody's business"
GOOD = {"authorization": f"Bearer {KEY}"}


@pytest.fixture(autouse=True)
def _talkative() -> Iterator[None]:
    logs.configure("console", "info")
    yield
    logs.configure("console", "error")


@asynccontextmanager
async def both(**changes: Any) -> AsyncIterator[tuple[Served, httpx.AsyncClient]]:
    """The gRPC server and its own HTTP front."""
    async with served(**changes) as running:
        server = running.server
        app = create_app(server.local_target, identifier=server.identifier, metrics=server.metrics)
        http = await serve_http(app, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{http.port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
            yield running, client
        await http.stop()


def keys_file(folder: Path, **limits: int) -> Path:
    path = folder / "keys.json"
    path.write_text(json.dumps([{"name": "alice", "key": KEY, **limits}]), encoding="utf-8")
    return path


def requests_in(lines: Any) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == "request" and line["log_level"] == "info"]


async def samples(http: httpx.AsyncClient, **headers: str) -> dict[tuple[str, ...], float]:
    text = (await http.get("/metrics", headers=headers)).text
    families = text_string_to_metric_families(text)
    return {
        (s.name, *(s.labels[label] for label in sorted(s.labels))): s.value
        for family in families
        for s in family.samples
    }


async def test_each_request_is_one_line() -> None:
    with capture_logs() as told:
        async with both() as (running, http):
            await running.stub.GenerateImage(ask(SECRET, request_id="mine"), timeout=30)
            await refusal_of(running.stub.GenerateImage(ask(SECRET, height=7), timeout=30))
            await http.post(GENERATE, json={"prompt": SECRET, "numInferenceSteps": 3})
            await http.post(STATUS, json={})
    good, bad, over_http = requests_in(told)
    assert (good["id"], good["client"], good["code"]) == ("mine", "127.0.0.1", "OK")
    assert good["run_ms"] <= good["ms"] + 1
    assert good["queued_ms"] >= 0
    assert (bad["method"], bad["code"]) == ("GenerateImage", "INVALID_ARGUMENT")
    assert (over_http["client"], over_http["code"]) == ("unix/127.0.0.1", "OK")
    assert SECRET not in str(told)


async def test_a_caller_who_leaves_is_told_as_such() -> None:
    gate = Gate()
    with capture_logs() as told:
        async with both(model=FakeModel(gate=gate)) as (running, _):
            call = running.stub.StreamGenerateImage(ask())
            await call.read()
            call.cancel()
            await until(lambda: requests_in(told), 10)
            gate.open()
    assert [line["code"] for line in requests_in(told)] == ["CANCELLED"]


async def test_an_id_that_is_none_is_not_repeated() -> None:
    with capture_logs() as told:
        async with served() as running:
            await refusal_of(running.stub.GenerateImage(ask(request_id=SECRET), timeout=30))
    assert SECRET not in str(told)


async def test_what_goes_no_further_than_http_is_told_too() -> None:
    with capture_logs() as told:
        async with both() as (_, http):
            await http.get("/nothing")
            await http.post(GENERATE, json={"prompt": SECRET, "nonsense": 1})
            await http.get("/healthz")
            counted = await samples(http)
    paths = [(line["path"], line["status"]) for line in told if line["event"] == "http"]
    assert paths == [("/nothing", 404), (GENERATE, 400)]
    assert counted["text2image_http_refusals_total", "404"] == 1
    assert SECRET not in str(told)


async def test_histograms_by_method_code_and_model() -> None:
    async with both() as (running, http):
        await running.stub.GenerateImage(ask(), timeout=30)
        await refusal_of(running.stub.GenerateImage(ask(height=7), timeout=30))
        async for _ in running.stub.StreamGenerateImage(ask(), timeout=30):
            pass
        counted = await samples(http)
    count = "text2image_request_seconds_count"
    assert counted[count, "OK", "GenerateImage", "fake"] == 1
    assert counted[count, "INVALID_ARGUMENT", "GenerateImage", ""] == 1
    assert counted[count, "OK", "StreamGenerateImage", "fake"] == 1
    assert counted["text2image_queue_seconds_count", "fake"] == 2
    assert counted["text2image_run_seconds_count", "fake"] == 2
    assert counted["text2image_first_event_seconds_count", "StreamGenerateImage", "fake"] == 1


async def test_wrong_keys_are_counted_and_told_and_then_locked_out(tmp_path: Path) -> None:
    with capture_logs() as told:
        async with both(api_keys_file=keys_file(tmp_path)) as (_, http):
            assert (await http.post(GENERATE, content=b"{")).status_code == 401
            for n in range(10):
                wrong = {"authorization": f"Bearer wrong-{n}-wrong-wrong"}
                assert (await http.post(GENERATE, content=b"{", headers=wrong)).status_code == 401
            locked = await http.post(IMAGES, content=b"{", headers=wrong)
            assert (locked.status_code, locked.json()["error"]["code"]) == (429, "locked_out")
            assert int(locked.headers["retry-after"]) >= 1
            assert (await http.get("/metrics", headers=GOOD)).status_code == 429
    reasons = [line["reason"] for line in told if line["event"] == "authentication failed"]
    assert reasons == ["no key"] + ["unknown key"] * 10
    assert "wrong-0" not in str(told)


@pytest.mark.parametrize("over", ["grpc", "http"])
async def test_a_keys_own_limits(tmp_path: Path, over: str) -> None:
    path = keys_file(tmp_path, requests_per_minute=3, concurrent_requests=1)
    gate = Gate()
    async with both(model=FakeModel(gate=gate), api_keys_file=path) as (running, http):

        async def draw() -> str:
            if over == "http":
                answer = await http.post(GENERATE, json={"prompt": "a fox"}, headers=GOOD)
                return "OK" if answer.status_code == 200 else str(answer.json()["message"])
            try:
                await running.stub.GenerateImage(
                    ask(), timeout=30, metadata=(("authorization", f"Bearer {KEY}"),)
                )
            except grpc.aio.AioRpcError as error:
                return str(error.details())
            return "OK"

        first = asyncio.create_task(draw())
        await until(lambda: running.backend.status().running == 1, 10)
        assert "1 requests running" in await draw()
        gate.open()
        assert await first == "OK"
        assert [await draw(), await draw()] == ["OK", "OK"]
        assert "3 requests within a minute" in await draw()
