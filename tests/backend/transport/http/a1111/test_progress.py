"""Progress, interrupt, skip, hanging up and keys, before the real gRPC server."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.transport.http import create_app, serve_http
from tests.support.fakes import FakeModel, Gate
from tests.support.http_front import front
from tests.support.served import Served, served, until

API = "/sdapi/v1/"
FOX = {"prompt": "a fox", "steps": 100, "seed": 5}
ALICE, BOB = "0123456789abcdef", "fedcba9876543210"


def gated() -> tuple[FakeModel, Gate]:
    gate = Gate()
    return FakeModel(gate=gate), gate


async def progress(http: httpx.AsyncClient) -> Any:
    return (await http.get(API + "progress")).json()


async def until_step(http: httpx.AsyncClient, step: int) -> Any:
    async with asyncio.timeout(20):
        while (told := await progress(http))["state"]["sampling_step"] < step:
            await asyncio.sleep(0.01)
    return told


async def test_progress_tells_of_the_step_and_shows_the_picture() -> None:
    model, gate = gated()
    async with served(model) as running, front(running.server.local_target) as http:
        assert (await progress(http))["state"]["job_count"] == 0
        going = asyncio.create_task(http.post(API + "txt2img", json=FOX))
        gate.allow(50)
        told = await until_step(http, 50)
        assert told["state"]["sampling_steps"] == 100
        assert told["progress"] == pytest.approx(0.51)
        assert base64.b64decode(told["current_image"]).startswith(b"\xff\xd8")
        without = await http.get(API + "progress", params={"skip_current_image": "true"})
        assert without.json()["current_image"] is None
        gate.open()
        assert (await going).status_code == 200
        idle = await progress(http)
        assert (idle["progress"], idle["state"]["job_count"], idle["current_image"]) == (0, 0, None)


async def test_an_interrupt_frees_the_model_within_a_step_and_answers_what_is_ready() -> None:
    model, gate = gated()
    async with served(model) as running, front(running.server.local_target) as http:
        fields = FOX | {"steps": 10, "n_iter": 3}
        going = asyncio.create_task(http.post(API + "txt2img", json=fields))
        gate.allow(10)  # the first round
        async with asyncio.timeout(20):
            while (await progress(http))["state"]["job_no"] == 0:
                await asyncio.sleep(0.01)
        await until(lambda: running.backend.status().running == 1)
        assert (await http.post(API + "interrupt")).json() == {}
        answer = await going
        assert len(answer.json()["images"]) == 1
        assert json.loads(answer.json()["info"])["all_seeds"] == [5]
        await freed(running, gate)


async def test_an_interrupt_before_anything_is_ready_answers_no_picture() -> None:
    model, gate = gated()
    async with served(model) as running, front(running.server.local_target) as http:
        going = asyncio.create_task(http.post(API + "txt2img", json=FOX))
        await until(lambda: running.backend.status().running == 1)
        await http.post(API + "interrupt")
        answer = await going
        assert (answer.status_code, answer.json()["images"]) == (200, [])
        info = json.loads(answer.json()["info"])
        assert (info["seed"], info["sd_model_name"], info["prompt"]) == (-1, "fake", "a fox")
        await freed(running, gate)


async def test_a_skip_ends_the_round_alone() -> None:
    model, gate = gated()
    async with served(model) as running, front(running.server.local_target) as http:
        fields = FOX | {"steps": 10, "n_iter": 2}
        going = asyncio.create_task(http.post(API + "txt2img", json=fields))
        await until(lambda: running.backend.status().running == 1)
        await http.post(API + "skip")
        gate.open()
        answer = await going
        assert json.loads(answer.json()["info"])["all_seeds"] == [6]
        assert (await running.counters()).cancelled == 1


async def test_hanging_up_frees_the_model_within_a_step() -> None:
    model, gate = gated()
    async with served(model) as running, front(running.server.local_target) as http:
        going = asyncio.create_task(http.post(API + "txt2img", json=FOX | {"n_iter": 2}))
        await until(lambda: running.backend.status().running == 1)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        await freed(running, gate)
        assert (await progress(http))["state"]["job_count"] == 0


async def freed(running: Served, gate: Gate) -> None:
    gate.allow(2)  # the step under way, and one that never comes
    await until(lambda: running.backend.status().running == 0)
    counters = await running.counters()
    assert (counters.cancelled, counters.failed) == (1, 0)


@asynccontextmanager
async def with_keys(folder: Path, model: FakeModel) -> AsyncIterator[tuple[Served, str]]:
    """A server with keys of alice and bob, and the front's address."""
    keys = folder / "keys.json"
    keys.write_text(
        json.dumps([{"name": "alice", "key": ALICE}, {"name": "bob", "key": BOB}]), encoding="utf-8"
    )
    async with served(model, api_keys_file=keys) as running:
        app = create_app(running.server.local_target, identifier=running.server.identifier)
        server = await serve_http(app, "127.0.0.1", 0)
        try:
            yield running, f"http://127.0.0.1:{server.port}"
        finally:
            await server.stop()


async def test_a_caller_sees_and_interrupts_its_own_jobs_alone(tmp_path: Path) -> None:
    model, gate = gated()
    async with with_keys(tmp_path, model) as (running, address):
        alice = httpx.AsyncClient(base_url=address, auth=("alice", ALICE), trust_env=False)
        bob = httpx.AsyncClient(base_url=address, auth=("any name", BOB), trust_env=False)
        async with alice, bob:
            going = asyncio.create_task(alice.post(API + "txt2img", json=FOX))
            await until(lambda: running.backend.status().running == 1)
            assert (await progress(bob))["state"]["job_count"] == 0
            await bob.post(API + "interrupt")
            assert (await progress(alice))["state"]["job_count"] == 1
            gate.open()
            assert len((await going).json()["images"]) == 1


async def test_without_a_key_it_is_401_and_a_password_is_asked_for(tmp_path: Path) -> None:
    async with (
        with_keys(tmp_path, FakeModel()) as (_, address),
        httpx.AsyncClient(base_url=address, trust_env=False) as http,
    ):
        for header in ("", "Basic", "Basic !", "Basic Og==", "Basic YTpi", f"Bearer {ALICE}x"):
            headers = {"authorization": header} if header else {}
            for answer in (
                await http.get(API + "options", headers=headers),
                await http.post(API + "txt2img", json=FOX, headers=headers),
            ):
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"].startswith("Basic ")
                assert answer.json()["error"] == "HTTPException"
        assert (await http.get("/internal/ping")).status_code == 200
