"""/mcp, called with the protocol's own client, over a fake service."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, cast

import grpc
import httpx
import pytest
import pytest_asyncio
from mcp import Client
from PIL import Image

from backend.transport.http import body
from tests.support.fake_service import Failure, FakeService, bad_request, retry_info
from tests.support.http_front import front

pytestmark = pytest.mark.asyncio(loop_scope="module")

Era = Literal["legacy", "auto"]
ERAS: tuple[Era, Era] = ("legacy", "auto")


@pytest.fixture(scope="module")
def running() -> Iterator[FakeService]:
    with FakeService() as service:
        yield service


@pytest.fixture
def service(running: FakeService) -> FakeService:
    running.requests.clear()
    running.cancelled.clear()
    running.failure, running.hang_at_step, running.nsfw = None, None, ()
    return running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(running: FakeService) -> AsyncIterator[httpx.AsyncClient]:
    async with front(running) as client:
        yield client


@pytest.fixture
def http(shared: httpx.AsyncClient, service: FakeService) -> httpx.AsyncClient:
    return shared


def connect(http: httpx.AsyncClient, era: Era = "auto") -> Client:
    return Client(f"http://{http.base_url.netloc.decode()}/mcp", mode=era)


def text_of(result: Any) -> str:
    [text] = [block.text for block in result.content if block.type == "text"]
    return str(text)


@pytest.mark.parametrize("era", ERAS)
async def test_pictures_come_as_content_and_as_links(
    http: httpx.AsyncClient, service: FakeService, era: Era
) -> None:
    told: list[tuple[float, float | None]] = []

    async def follow(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total))

    fields = {"prompt": "a fox", "num_images": 2, "seed": 5, "steps": 4, "width": 128.0}
    async with connect(http, era) as client:
        result = await client.call_tool("generate_image", fields, progress_callback=follow)
    assert not result.is_error
    pictures = [block for block in result.content if block.type == "image"]
    links = [block for block in result.content if block.type == "resource_link"]
    assert [block.mime_type for block in pictures] == ["image/png"] * 2
    for picture, link in zip(pictures, links, strict=True):
        data = base64.b64decode(picture.data)
        assert Image.open(io.BytesIO(data)).size == (128, 64)
        answer = await http.get(str(link.uri))
        assert (answer.status_code, answer.content) == (200, data)
    assert [one["seed"] for one in result.structured_content["images"]] == [5, 6]
    assert "Seed 5, 6." in text_of(result)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    [seen] = service.requests
    assert (seen.prompt, seen.num_inference_steps, seen.width) == ("a fox", 4, 128)


async def test_a_picture_made_here_is_edited_by_its_address(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    out = io.BytesIO()
    Image.new("L", (64, 64), "white").save(out, "PNG")
    mask = base64.b64encode(out.getvalue()).decode()
    async with connect(http) as client:
        made = await client.call_tool("generate_image", {"prompt": "a fox", "strength": 0.5})
        data, link = (cast(Any, block) for block in made.content[:2])
        fields = {"prompt": "a red fox", "image": str(link.uri), "mask": mask, "strength": 0.5}
        edited = await client.call_tool("edit_image", fields)
        again = await client.call_tool("edit_image", {"prompt": "a fox", "image": data.data})
        wrong = [
            await client.call_tool("edit_image", {"prompt": "a fox", "image": image})
            for image in (None, 7, "", "https://example.org/fox.png", str(link.uri)[:-9])
        ]
    assert not edited.is_error
    assert not again.is_error
    first, second, third = service.requests
    assert (first.HasField("strength"), second.strength) == (False, 0.5)
    assert second.init_image == third.init_image == base64.b64decode(data.data)
    assert second.mask == out.getvalue()
    for result in wrong:
        assert (result.is_error, text_of(result)[:7]) == (True, "image: ")


async def test_the_tools_describe_themselves(http: httpx.AsyncClient) -> None:
    async with connect(http) as client:
        found = {tool.name: tool for tool in (await client.list_tools()).tools}
        models = (await client.call_tool("list_models", {})).structured_content
        status = (await client.call_tool("get_status", {})).structured_content
    assert found.keys() >= {"generate_image", "edit_image", "list_models", "get_status"}
    schema = found["generate_image"].input_schema
    assert schema["required"] == ["prompt"]
    assert {"negative_prompt", "width", "height", "steps", "seed"} <= schema["properties"].keys()
    assert all("description" in one for one in schema["properties"].values())
    assert [model["name"] for model in models["models"]] == ["fake"]
    assert "ddim" in models["schedulers"]
    assert (status["state"], status["capacity"]) == ("ready", 64)


@pytest.mark.parametrize("era", ERAS)
async def test_a_cancelled_call_frees_the_model(
    http: httpx.AsyncClient, service: FakeService, era: Era
) -> None:
    service.hang_at_step = 2
    begun = asyncio.Event()

    async def follow(progress: float, total: float | None, message: str | None) -> None:
        begun.set()

    async with connect(http, era) as client:
        call = client.call_tool("generate_image", {"prompt": "a"}, progress_callback=follow)
        going = asyncio.create_task(call)
        await asyncio.wait_for(begun.wait(), 10)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        assert await asyncio.to_thread(service.wait_cancelled)


async def test_hanging_up_frees_the_model(http: httpx.AsyncClient, service: FakeService) -> None:
    """A caller of the older protocol, which has a session and says nothing when it leaves."""
    service.hang_at_step = 2
    headers = {"accept": "application/json, text/event-stream"}
    client = {"name": "test", "version": "1"}
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    opening = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    opened = await http.post("/mcp", json=opening, headers=headers)
    headers["mcp-session-id"] = opened.headers["mcp-session-id"]
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await http.post("/mcp", json=ready, headers=headers)).status_code == 202
    tool = {"name": "generate_image", "arguments": {"prompt": "a"}, "_meta": {"progressToken": 7}}
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": tool}
    async with http.stream("POST", "/mcp", json=call, headers=headers) as answer:
        async for line in answer.aiter_lines():
            if "notifications/progress" in line:
                break
    assert await asyncio.to_thread(service.wait_cancelled)
    assert (await http.delete("/mcp", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("fields", "failure", "text"),
    [
        ({}, None, "prompt: Say what the picture should show."),
        ({"prompt": 5}, None, "prompt: Say what the picture should show."),
        ({"prompt": "a", "width": "wide"}, None, "width: Can't be sent as this: 'wide'."),
        (
            {"prompt": "a", "width": 7},
            Failure(
                grpc.StatusCode.INVALID_ARGUMENT, "width: Too small.", (bad_request(width="x"),)
            ),
            "width: Too small.",
        ),
        (
            {"prompt": "a"},
            Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "The queue is full.", (retry_info(2),)),
            "The queue is full.",
        ),
    ],
)
async def test_a_refusal_tells_the_agent_what_to_do(
    http: httpx.AsyncClient,
    service: FakeService,
    fields: dict[str, Any],
    failure: Failure | None,
    text: str,
) -> None:
    service.failure = failure
    async with connect(http) as client:
        result = await client.call_tool("generate_image", fields)
    assert (result.is_error, text_of(result)) == (True, text)


async def test_withheld_pictures_are_counted(http: httpx.AsyncClient, service: FakeService) -> None:
    service.nsfw = [0]
    async with connect(http) as client:
        some = await client.call_tool("generate_image", {"prompt": "a", "num_images": 2, "seed": 5})
        none = await client.call_tool("generate_image", {"prompt": "a"})
    assert [block.type for block in some.content] == ["image", "resource_link", "text"]
    assert "withheld 1 more" in text_of(some)
    assert (none.is_error, "withheld" in text_of(none)) == (True, True)


async def aiter_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_what_is_no_message_of_the_protocol(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect(http) as client:
        missing = await client.call_tool("make_coffee", {})
    assert missing.is_error
    assert "generate_image" in text_of(missing)
    headers = {"accept": "application/json, text/event-stream"}
    assert (await http.post("/mcp", json={"a": 1}, headers=headers)).status_code == 400
    large = await http.post("/mcp", json={"a": "x" * 7_000_000}, headers=headers)
    assert large.status_code == 413
    unsized = await http.post("/mcp", content=aiter_of(b"{}"), headers=headers)
    assert unsized.status_code == 411
    monkeypatch.setattr(body, "MAX_HELD_BYTES", 300_000)
    picture = {"a": "x" * 400_000}
    assert (await http.post("/mcp", json=picture, headers=headers)).status_code == 503
    monkeypatch.undo()
    assert (await http.post("/mcp", json=picture, headers=headers)).status_code == 400
    assert body._held == 0
    assert (await http.put("/mcp", json={})).status_code == 405
