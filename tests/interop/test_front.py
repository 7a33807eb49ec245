"""Clients that nobody here wrote, against the HTTP front of a scripted service."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from connectrpc.client import ConnectClientSync
from connectrpc.method import IdempotencyLevel, MethodInfo
from PIL import Image

from proto import text2image_pb2 as pb
from tests.interop.live import ROOT
from tests.support.fake_service import FakeService
from tests.support.http_front import front
from tests.support.needs import need

NODE = Path(__file__).parent / "node"
PROGRAMS = ROOT / "build/programs"
ALIASES = ("dall-e-3", "dall-e-*", "gpt-image-*")


@pytest.fixture
def service() -> Iterator[FakeService]:
    with FakeService() as running:
        yield running


@pytest.fixture
async def base_url(service: FakeService) -> AsyncIterator[str]:
    async with front(service, openai_aliases=ALIASES) as http:
        yield str(http.base_url)


needs_programs = pytest.mark.skipif(
    not (PROGRAMS / "n8n-nodes").is_dir(), reason="needs scripts/interop-programs: make interop"
)


async def node(script: str, *arguments: str) -> list[str]:
    """Run a script of ours around a client of theirs; its lines that say ok."""
    process = await asyncio.create_subprocess_exec(
        need("nodejs"),
        str(NODE / script),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 150)  # n8n loads 900 modules
    assert process.returncode == 0, out.decode() + err.decode()
    return out.decode().split("\n")[:-1]


@pytest.mark.node
async def test_openais_sdk_for_node(base_url: str) -> None:
    checks = await node("openai_images.mjs", base_url)
    assert checks == [f"ok {n}" for n in ("models", "generate", "url", "stream", "refusal")]


async def test_openais_sdk_edits_and_varies_a_picture(base_url: str, service: FakeService) -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(out, "PNG")
    picture = ("fox.png", out.getvalue(), "image/png")
    async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key="unused") as sdk:
        extra = {"strength": 0.5, "steps": 4, "seed": 5}
        edited = await sdk.images.edit(
            image=[picture, picture], mask=picture, prompt="a fox", n=2, extra_body=extra
        )
        varied = await sdk.images.create_variation(image=picture, model="dall-e-2")
    first, second = service.requests
    assert (first.init_image, first.mask, first.prompt) == (picture[1], picture[1], "a fox")
    assert (first.strength, first.num_inference_steps, first.num_images) == (0.5, 4, 2)
    assert len(edited.data or []) == 2
    assert second.init_image == picture[1]
    assert second.prompt
    assert len(varied.data or []) == 1


@pytest.mark.node
async def test_vercels_ai_sdk_loses_no_picture_beside_a_withheld_one(
    base_url: str, service: FakeService
) -> None:
    service.nsfw = [1]
    service.hang_prompt, service.hang_at_step = "a slow fox", 1
    assert await node("ai_sdk.mjs", base_url) == ["ok doGenerate", "ok abort"]
    first, _ = service.requests
    assert (first.num_images, first.num_inference_steps, first.model) == (2, 3, "")
    assert await asyncio.to_thread(service.wait_cancelled)


@pytest.mark.node
async def test_connect_node(base_url: str) -> None:
    assert await node("connect_node.mjs", base_url) == ["ok default", "ok gzip"]


@pytest.mark.parametrize("proto_json", [False, True])
async def test_connect_python_with_its_default_options(base_url: str, proto_json: bool) -> None:
    """It packs every request with gzip."""

    def method(name: str, output: type[Any]) -> MethodInfo[Any, Any]:
        return MethodInfo(
            name=name,
            service_name="text2image.Text2ImageService",
            input=pb.GenerateImageRequest,
            output=output,
            idempotency_level=IdempotencyLevel.UNKNOWN,
        )

    def call() -> tuple[Any, list[Any]]:
        request = pb.GenerateImageRequest(prompt="a fox", seed=5, height=256, width=256)
        with ConnectClientSync(base_url, proto_json=proto_json) as client:
            unary = method("GenerateImage", pb.GenerateImageResponse)
            answer = client.execute_unary(request=request, method=unary)
            stream = method("StreamGenerateImage", pb.GenerateImageEvent)
            events = client.execute_server_stream(request=request, method=stream)
            return answer, list(events)

    answer, events = await asyncio.to_thread(call)
    assert answer.images[0].seed == 5
    assert events[-1].HasField("done")


@pytest.mark.node
@needs_programs
async def test_n8n(base_url: str, service: FakeService) -> None:
    checks = await node("../programs/n8n.cjs", str(PROGRAMS), base_url)
    assert checks == [f"ok {n}" for n in ("generate", "url", "edit", "refusal")]
    made, _, edited = service.requests
    assert (made.num_images, made.width, made.height, made.model) == (2, 64, 64, "")
    assert edited.init_image.startswith(b"\x89PNG")
    assert (edited.prompt, edited.width, edited.model) == ("a red fox", 64, "")


# Bodies that programs send, as their sources have them: what each needs is a picture in base64.
RECORDED = json.loads((Path(__file__).parent / "recorded_requests.json").read_text("utf-8"))


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["program"])
async def test_a_recorded_request_gets_its_picture(
    service: FakeService, recorded: dict[str, Any]
) -> None:
    async with front(service, openai_aliases=ALIASES) as http:
        answer = await http.post("/v1/images/generations", json=recorded["body"])
        assert answer.status_code == 200, answer.text
        items = answer.json()["data"]
        assert len(items) == (recorded["body"].get("n") or 1)
        default = "url" if recorded["body"].get("response_format") == "url" else "b64_json"
        for item in items:
            found = item[recorded.get("reads", default)]
            if found.startswith("http"):
                assert (await http.get(found)).content.startswith(b"\x89PNG")
            else:
                Image.open(io.BytesIO(base64.b64decode(found))).verify()
    [seen] = service.requests
    for name, value in recorded["asks_for"].items():
        assert getattr(seen, name) == value, name
