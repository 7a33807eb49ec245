"""The HTTP front before the real gRPC server: keys, loading, draining, conflicts, hanging up."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from backend.engine.backend import LocalBackend
from backend.transport.rpc.server import Server
from tests.support.certificates import Authority
from tests.support.fakes import FakeModel, Gate, loads, settings
from tests.support.http_front import GENERATE, IMAGES, STATUS, STREAM, front, parse_events
from tests.support.served import served, until

FOX = {"prompt": "a fox", "num_inference_steps": 3, "seed": 1}


async def test_a_key_is_asked_for_and_passed_on(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text('[{"name": "alice", "key": "0123456789abcdef"}]', encoding="utf-8")
    good = {"authorization": "Bearer 0123456789abcdef"}
    async with served(api_keys_file=keys) as running, front(running.server.local_target) as http:
        for path in (GENERATE, STREAM, IMAGES):
            refused = await http.post(path, json=FOX)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert (await http.post(path, json=FOX, headers=good)).status_code == 200
        assert (await http.get("/v1/models")).status_code == 401
        assert (await http.get("/metrics", headers=good)).status_code == 200


async def test_readiness_follows_the_health_that_nobody_needs_a_key_for(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text('[{"name": "alice", "key": "0123456789abcdef"}]', encoding="utf-8")
    async with served(api_keys_file=keys) as running, front(running.server.local_target) as http:
        async with asyncio.timeout(10):
            while (await http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.05)


async def test_while_nothing_is_loaded_it_is_503_with_a_time_to_come_back() -> None:
    server = Server(settings(), LocalBackend(settings(), loads(FakeModel()), "1.0"))
    await server.start()
    async with front(server.local_target) as http:
        answer = await http.post(GENERATE, json=FOX)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.post(STATUS, json={})).json()["state"] == "STATE_STARTING"
        assert (await http.get("/v1/models")).json()["data"] == []
    await server.drain()


async def test_a_drain_answers_what_runs_and_refuses_what_comes() -> None:
    model = FakeModel(gate=Gate())
    async with served(model) as running, front(running.server.local_target) as http:
        going = asyncio.create_task(http.post(GENERATE, json=FOX))
        await until(lambda: running.backend.status().running == 1)
        drain = asyncio.create_task(running.drain())
        await asyncio.sleep(0)
        refused = await http.post(GENERATE, json=FOX)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert model.gate is not None
        model.gate.open()
        assert (await going).status_code == 200
        await drain


async def test_a_request_id_with_other_parameters_is_409() -> None:
    async with served() as running, front(running.server.local_target) as http:
        named = {**FOX, "request_id": "once"}
        first = await http.post(GENERATE, json=named)
        again = await http.post(GENERATE, json=named)
        other = await http.post(GENERATE, json={**named, "prompt": "a cat"})
    assert first.json()["images"] == again.json()["images"]
    assert (other.status_code, other.json()["code"]) == (409, "already_exists")


@pytest.mark.parametrize("path", [GENERATE, STREAM, IMAGES])
async def test_hanging_up_frees_the_model_at_the_next_step(path: str) -> None:
    model = FakeModel(gate=Gate())
    fields = {"prompt": "a fox", "num_inference_steps": 100}
    async with served(model) as running, front(running.server.local_target) as http:
        going = asyncio.create_task(http.post(path, json=fields))
        await until(lambda: running.backend.status().running == 1)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        assert model.gate is not None
        model.gate.allow(2)  # the step under way, and one that never comes
        await until(lambda: running.backend.status().running == 0)
        assert (await running.counters()).cancelled == 1


async def test_an_eventsource_that_comes_back_finds_its_request_where_it_is() -> None:
    model = FakeModel(gate=Gate())
    gate = model.gate
    assert gate is not None
    fox = {"message": json.dumps({"prompt": "a fox", "num_inference_steps": 6})}
    async with served(model) as running, front(running.server.local_target) as http:
        gate.allow(3)
        async with http.stream("GET", STREAM, params=fox) as answer:
            lines = answer.aiter_lines()
            while not (line := await anext(lines)).startswith("id: "):
                pass
        await asyncio.to_thread(gate.wait_arrived, 4)
        assert running.backend.status().running == 1
        coming_back = {"last-event-id": line.removeprefix("id: ")}
        back = asyncio.create_task(http.get(STREAM, params=fox, headers=coming_back))
        await asyncio.sleep(0.1)
        gate.open()
        events = parse_events((await back).text)
        assert len(model.batches) == 6  # no step twice
        assert (await running.counters()).received == 1
    steps = [event.data["progress"]["step"] for event in events if event.name == "progress"]
    assert steps[0] >= 3
    assert [event.name for event in events[-2:]] == ["image", "done"]


async def test_the_front_reaches_a_server_that_speaks_tls(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "ours")
    files = authority.issue("server")
    changes = {"tls_cert": files.cert, "tls_key": files.key, "tls_client_ca": authority.ca}
    server = Server(settings(**changes), LocalBackend(settings(), loads(FakeModel()), "1.0"))
    await server.start()
    async with front(server.local_target) as http:
        assert (await http.post(STATUS, json={})).status_code == 200
    await server.drain()


async def test_a_stream_tells_the_real_story() -> None:
    async with served() as running, front(running.server.local_target) as http:
        answer: httpx.Response = await http.post(STREAM, json=FOX)
    events = parse_events(answer.text)
    assert [event.name for event in events[-2:]] == ["image", "done"]
    assert events[-1].data["done"]["request"]["seed"] == "1"


async def test_a_deadline_that_has_passed_is_504() -> None:
    async with served() as running, front(running.server.local_target) as http:
        for milliseconds in ("0", "1"):
            answer = await http.post(
                GENERATE, json=FOX, headers={"connect-timeout-ms": milliseconds}
            )
            assert answer.status_code == 504
            assert answer.json()["code"] == "deadline_exceeded"
