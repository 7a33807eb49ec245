from __future__ import annotations

import asyncio
import base64
from typing import Any

import grpc
import httpx
import pytest

from tests.support.fake_service import Failure, FakeService, bad_request, error_info, retry_info
from tests.support.http_front import IMAGES, parse_events


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"steps": 3}, "steps", "unknown_field"),
        ({"size": "512"}, "size", "wrong_type"),
        ({"size": 512}, "size", "wrong_type"),
        ({"size": "٦٤x64"}, "size", "wrong_type"),
        ({"n": 1.0}, "n", "wrong_type"),
        ({"n": "many"}, "n", "wrong_type"),
        ({"prompt": 7}, "prompt", "wrong_type"),
        ({"seed": 1.5}, "seed", "wrong_type"),
        ({"seed": 2**63}, "seed", "out_of_range"),
        ({"loras": [{"scale": 1}]}, "loras.0.name", "required"),
        ({"prompt": None}, "prompt", "wrong_type"),
        ({"response_format": "url"}, "response_format", "unsupported"),
        ({"output_format": "gif"}, "output_format", "unsupported"),
        ({"output_format": []}, "output_format", "unsupported"),
        ({"background": "transparent"}, "background", "unsupported"),
        ({"output_compression": 50}, "output_compression", "unknown_field"),
        ({"stream": 1}, "stream", "wrong_type"),
        ({"stream": True, "n": 2}, "n", "unsupported"),
        ({"stream": True, "partial_images": 4}, "partial_images", "out_of_range"),
        ({"stream": True, "partial_images": True}, "partial_images", "wrong_type"),
        ({"partial_images": 1}, "partial_images", "unsupported"),
    ],
)
async def test_what_cannot_be_honoured_is_400_and_named(
    http: httpx.AsyncClient, service: FakeService, fields: dict[str, Any], param: str, code: str
) -> None:
    answer = await http.post(IMAGES, json={"prompt": "a fox", **fields})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == (param, code)
    assert error["type"] == "invalid_request_error"
    assert service.requests == []


async def test_other_paths_and_verbs_answer_in_openais_words(http: httpx.AsyncClient) -> None:
    assert (await http.get(IMAGES)).status_code == 405
    missing = await http.post("/v1/chat/completions", json={})
    assert missing.status_code == 404
    assert set(missing.json()["error"]) == {"message", "type", "param", "code"}
    form = await http.post(IMAGES, data={"prompt": "a fox"})
    assert form.status_code == 415


async def test_the_services_violations_come_under_openais_names(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    details = (bad_request(num_images="Must be 1 to 8."),)
    service.failure = Failure(grpc.StatusCode.INVALID_ARGUMENT, "Bad.", details)
    answer = await http.post(IMAGES, json={"prompt": "a fox", "n": 99})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "n")
    assert answer.json()["error"]["message"] == "n: Must be 1 to 8."


async def test_a_full_queue_is_a_rate_limit(http: httpx.AsyncClient, service: FakeService) -> None:
    details = (error_info("QUEUE_FULL"), retry_info(2))
    service.failure = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "Full.", details)
    for stream in (False, True):
        answer = await http.post(IMAGES, json={"prompt": "a fox", "stream": stream})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
        assert answer.json()["error"]["type"] == "rate_limit_error"
        assert answer.json()["error"]["code"] == "queue_full"


async def test_a_picture_that_is_withheld_keeps_its_place(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.nsfw = [0]
    first, second = (await http.post(IMAGES, json={"prompt": "a fox", "n": 2})).json()["data"]
    assert (first["b64_json"], first["nsfw_detected"]) == (None, True)
    assert second["b64_json"]
    assert not second["nsfw_detected"]


async def test_nothing_but_withheld_pictures_is_an_error(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.nsfw = [0]
    answer = await http.post(IMAGES, json={"prompt": "a fox"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "moderation_blocked"
    [event] = parse_events((await http.post(IMAGES, json={"prompt": "a", "stream": True})).text)
    assert event.data["error"]["code"] == "moderation_blocked"


async def test_a_caller_that_hangs_up_cancels(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.hang_at_step = 1
    with pytest.raises(httpx.ReadTimeout):
        await http.post(IMAGES, json={"prompt": "a"}, timeout=httpx.Timeout(5, read=0.3))
    assert await asyncio.to_thread(service.wait_cancelled)


async def test_every_parameter_arrives(http: httpx.AsyncClient, service: FakeService) -> None:
    fields = {
        "prompt": "a fox",
        "model": "fake",
        "n": 2,
        "size": "128x64",
        "output_format": "jpeg",
        "response_format": "b64_json",
        "quality": "auto",
        "user": "someone",
        "negative_prompt": "dull",
        "num_inference_steps": 4,
        "guidance_scale": 3,
        "seed": 5,
        "scheduler": "euler",
        "loras": [{"name": "pixel", "scale": 0.5}],
    }
    answer = await http.post(IMAGES, json=fields, headers={"idempotency-key": "once"})
    assert answer.status_code == 200
    body = answer.json()
    assert [item["seed"] for item in body["data"]] == [5, 6]
    assert base64.b64decode(body["data"][0]["b64_json"]).startswith(b"\xff\xd8")
    assert (body["size"], body["output_format"]) == ("128x64", "jpeg")
    [seen] = service.requests
    assert (seen.width, seen.height, seen.num_images, seen.seed) == (128, 64, 2, 5)
    assert (seen.negative_prompt, seen.num_inference_steps, seen.guidance_scale) == ("dull", 4, 3.0)
    assert (seen.scheduler, seen.loras[0].name, seen.request_id) == ("euler", "pixel", "once")


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


async def test_models(http: httpx.AsyncClient) -> None:
    listed = (await http.get("/v1/models")).json()
    assert [model["id"] for model in listed["data"]] == ["fake"]
    assert (await http.get("/v1/models/fake")).json() == listed["data"][0]
    assert (await http.get("/v1/models/no/such")).status_code == 404
