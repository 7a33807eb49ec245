"""Pictures that come in a stream, as OpenAI's API sends them."""

from __future__ import annotations

import asyncio
import base64

import grpc
import httpx

from tests.support.fake_service import Failure, FakeService
from tests.support.http_front import IMAGES, parse_events


async def test_a_stream_brings_every_picture_but_the_withheld(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.nsfw = [1]
    answer = await http.post(IMAGES, json={"prompt": "a", "stream": True, "n": 3, "seed": 5})
    events = parse_events(answer.text)
    assert [event.name for event in events] == ["image_generation.completed"] * 2
    assert [event.data["seed"] for event in events] == [5, 7]
    assert answer.text.endswith(": 1 withheld by the safety checker\n\n")


async def test_streaming_sends_the_previews_asked_for_and_then_the_picture(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    fields = {"prompt": "a", "stream": True, "partial_images": 2, "num_inference_steps": 9}
    events = parse_events((await http.post(IMAGES, json=fields)).text)
    assert [event.name for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert [event.data.get("partial_image_index") for event in events] == [0, 1, None]
    assert service.requests[0].preview_interval == 3
    assert base64.b64decode(events[0].data["b64_json"]).startswith(b"\xff\xd8")
    assert base64.b64decode(events[2].data["b64_json"]).startswith(b"\x89PNG")
    assert events[0].data["b64_json"] != events[1].data["b64_json"]


async def test_a_stream_begins_before_there_is_anything_to_see(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.hang_at_step = 2
    fields = {"prompt": "a", "stream": True}
    async with http.stream("POST", IMAGES, json=fields) as answer:
        assert answer.status_code == 200
        assert await anext(answer.aiter_bytes()) == b": accepted\n\n"
    assert await asyncio.to_thread(service.wait_cancelled)


async def test_a_failure_under_way_is_an_error_event(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.failure = Failure(grpc.StatusCode.INTERNAL, "internal error")
    service.fail_at_step = 3
    fields = {"prompt": "a", "stream": True, "partial_images": 3, "num_inference_steps": 4}
    events = parse_events((await http.post(IMAGES, json=fields)).text)
    assert events[-1].name == "error"
    assert events[-1].data["error"]["message"] == "internal error"
