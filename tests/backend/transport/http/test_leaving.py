"""Whoever hangs up frees the model within the step that runs, by every protocol of the port."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, NamedTuple

import httpx
import pytest

from tests.support.fakes import FakeModel, Gate
from tests.support.http_front import IMAGES, STREAM, front
from tests.support.served import ask, served, until

CALL = {"name": "generate_image", "arguments": {"prompt": "long", "steps": 50}}
MCP_BODY = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALL}
MCP_HELLO = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


class Way(NamedTuple):
    """A request for fifty steps."""

    name: str
    path: str
    body: dict[str, Any]
    accept: str = "application/json"


WAYS = (
    Way("connect", STREAM.replace("Stream", ""), {"prompt": "long", "numInferenceSteps": 50}),
    Way("events", STREAM, {"prompt": "long", "numInferenceSteps": 50}, "text/event-stream"),
    Way("openai", IMAGES, {"prompt": "long", "steps": 50}),
    Way("openai stream", IMAGES, {"prompt": "long", "steps": 50, "stream": True}),
    Way("a1111", "/sdapi/v1/txt2img", {"prompt": "long", "steps": 50}),
    Way("mcp", "/mcp", MCP_BODY, "application/json, text/event-stream"),
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_no_further_step_is_run(way: Way) -> None:
    gate = Gate()
    model = FakeModel(gate=gate)
    async with served(model) as running, front(running.server.local_target) as http:
        headers = {"accept": way.accept}
        if way.name == "mcp":
            hello = await http.post(way.path, json=MCP_HELLO, headers=headers)
            headers["mcp-session-id"] = hello.headers["mcp-session-id"]
        going = asyncio.create_task(read(http, way, headers))
        gate.allow(2)
        await asyncio.to_thread(gate.wait_arrived, 3)
        going.cancel()
        with suppress(asyncio.CancelledError):
            await going
        await until(lambda: running.backend.status().running == 0, timeout_s=20)
        gate.open()  # for the step that ran meanwhile
        await running.stub.GenerateImage(ask("the next", num_inference_steps=2))
        assert [prompts for prompts in model.batches if "long" in prompts] == [("long",)] * 3
        assert (await running.counters()).cancelled == 1


async def read(http: httpx.AsyncClient, way: Way, headers: dict[str, str]) -> None:
    content = json.dumps(way.body)
    headers = headers | {"content-type": "application/json"}
    async with http.stream("POST", way.path, content=content, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        async for _ in answer.aiter_raw():
            pass
