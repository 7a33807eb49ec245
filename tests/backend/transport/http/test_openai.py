from __future__ import annotations

import asyncio
import base64
import io
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from backend.transport.http.openai.request import header_of
from tests.support.fake_service import Failure, FakeService, bad_request, error_info, retry_info
from tests.support.http_front import IMAGES, parse_events

MANY = [f"n{number:02}" for number in range(20)]
PNG_STORY = {"parameters": "a fox\nSteps: 3", "text2image": '{"prompt": "a fox"}'}


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"size": "512"}, "size", "invalid_type"),
        ({"size": 512}, "size", "invalid_type"),
        ({"size": "٦٤x64"}, "size", "invalid_type"),
        ({"n": 1.0}, "n", "invalid_type"),
        ({"n": "many"}, "n", "invalid_type"),
        ({"prompt": 7}, "prompt", "invalid_type"),
        ({"seed": 1.5}, "seed", "invalid_type"),
        ({"seed": 2**63}, "seed", "invalid_value"),
        ({"steps": "many"}, "steps", "invalid_type"),
        ({"cfg": []}, "cfg", "invalid_type"),
        ({"loras": [{"scale": 1}]}, "loras.0.name", "missing_required_parameter"),
        ({"prompt": None}, "prompt", "invalid_type"),
        ({"response_format": "file"}, "response_format", "invalid_value"),
        ({"output_format": "gif"}, "output_format", "invalid_value"),
        ({"output_format": []}, "output_format", "invalid_value"),
        ({"output_compression": 101}, "output_compression", "invalid_value"),
        ({"background": "green"}, "background", "invalid_value"),
        ({"stream": 1}, "stream", "invalid_type"),
        ({"stream": True, "partial_images": 4}, "partial_images", "invalid_value"),
        ({"stream": True, "partial_images": True}, "partial_images", "invalid_type"),
        ({"partial_images": 1}, "partial_images", "invalid_value"),
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


async def test_a_prompt_that_is_missing_is_named(http: httpx.AsyncClient) -> None:
    error = (await http.post(IMAGES, json={"n": 1})).json()["error"]
    assert (error["param"], error["code"]) == ("prompt", "missing_required_parameter")


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({"watermark": False, "true_cfg_scale": 4.0}, "watermark, true_cfg_scale"),
        ({"input_fidelity": "high"}, "input_fidelity"),
        ({"quality": "hd", "style": "vivid", "user": None}, "quality, style"),
        ({"steps": 5, "num_inference_steps": 4}, "steps"),
        ({"cfg": 2, "cfg_scale": 2.0}, None),
        ({"size": "64x64", "width": 128, "height": 128}, "width, height"),
        ({"background": "transparent"}, "background"),
        ({"background": "opaque", "size": "auto"}, None),
        ({"output_compression": 50}, "output_compression"),
        ({"stream": True, "response_format": "url"}, "response_format"),
        ({"a, b\r\n": 1, "größe": 2, "x" * 99: 3}, "a??b??, gr??e, " + "x" * 64),
        (
            {f"n{i:02}": i for i in range(20)},
            ", ".join(f"n{i:02}" for i in range(16)) + ", and 4 more",
        ),
    ],
)
async def test_what_has_no_effect_is_ignored_and_named(
    http: httpx.AsyncClient, fields: dict[str, Any], ignored: str | None
) -> None:
    answer = await http.post(IMAGES, json={"prompt": "a fox", **fields})
    assert answer.status_code == 200
    assert answer.headers.get("x-ignored-parameters") == ignored


async def test_a_model_that_is_not_served_is_named_as_openai_does(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    details = (error_details_pb2.ResourceInfo(resource_type="model", resource_name="x"),)
    service.failure = Failure(grpc.StatusCode.NOT_FOUND, "No such model.", details)
    answer = await http.post(IMAGES, json={"prompt": "a fox", "model": "x"})
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("code", "details", "should_retry"),
    [
        (grpc.StatusCode.ALREADY_EXISTS, (), "false"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, (error_info("DEADLINE_UNMEETABLE"),), "false"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, (error_info("QUOTA"), retry_info(600)), "false"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, (error_info("QUEUE_FULL"), retry_info(3)), None),
        (grpc.StatusCode.UNAVAILABLE, (error_info("MODEL_LOADING"), retry_info(2)), None),
        (grpc.StatusCode.UNAVAILABLE, (), None),
        (grpc.StatusCode.INTERNAL, (error_info("NON_FINITE_OUTPUT"),), "false"),
        (grpc.StatusCode.INTERNAL, (), None),
        (grpc.StatusCode.INVALID_ARGUMENT, (), None),
    ],
)
async def test_sdks_are_told_where_trying_again_is_in_vain(
    http: httpx.AsyncClient,
    service: FakeService,
    code: grpc.StatusCode,
    details: tuple[Message, ...],
    should_retry: str | None,
) -> None:
    service.failure = Failure(code, "No.", details)
    answer = await http.post(IMAGES, json={"prompt": "a fox"})
    assert answer.headers.get("x-should-retry") == should_retry


async def test_options_say_what_there_is(http: httpx.AsyncClient) -> None:
    answer = await http.options(IMAGES)
    assert (answer.status_code, answer.headers["allow"]) == (204, "POST")
    assert (await http.options("/v1/nothing")).status_code == 404
    both = await http.options("/sdapi/v1/options")  # two routes have this path
    assert both.headers["allow"] == "GET, HEAD, POST"
    assert (await http.delete("/sdapi/v1/options")).headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(("output_format", "pillow"), [("jpeg", "JPEG"), ("webp", "WEBP")])
async def test_output_compression_is_the_quality(
    http: httpx.AsyncClient, service: FakeService, output_format: str, pillow: str
) -> None:
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    out = io.BytesIO()
    story = PngInfo()
    for key, text in PNG_STORY.items():
        story.add_text(key, text)
    noise.save(out, "PNG", pnginfo=story)
    service.picture = out.getvalue()
    sizes = []
    for quality in (0, 50, 100):
        fields = {"output_format": output_format, "output_compression": quality}
        answer = (await http.post(IMAGES, json={"prompt": "a fox", **fields})).json()
        data = base64.b64decode(answer["data"][0]["b64_json"])
        assert (opened(data).format, answer["output_format"]) == (pillow, output_format)
        assert b"UNICODE\0" + PNG_STORY["parameters"].encode("utf-16-be") in data
        assert b"text2image\0" + PNG_STORY["text2image"].encode() in data
        sizes.append(len(data))
    assert sizes == sorted(set(sizes))
    fields = {"output_format": output_format, "output_compression": 50, "stream": True}
    text = (await http.post(IMAGES, json={"prompt": "a fox", **fields})).text
    [event] = parse_events(text)
    assert len(base64.b64decode(event.data["b64_json"])) == sizes[1]


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
        error = answer.json()["error"]
        assert (error["code"], error["reason"]) == ("rate_limit_exceeded", "QUEUE_FULL")


@pytest.mark.parametrize("response_format", ["b64_json", "url"])
async def test_a_picture_that_is_withheld_is_left_out_and_counted(
    http: httpx.AsyncClient, service: FakeService, response_format: str
) -> None:
    service.nsfw = [0, 2]
    fields = {"prompt": "a fox", "n": 3, "seed": 5, "response_format": response_format}
    body = (await http.post(IMAGES, json=fields)).json()
    [shown] = body["data"]
    assert shown[response_format]
    assert (shown["seed"], body["nsfw_withheld"], body["size"]) == (6, 2, "64x64")


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


def test_names_of_ignored_parameters_fit_into_a_header() -> None:
    assert header_of(["", "a b", "x,y"]) == {"X-Ignored-Parameters": "?, a?b, x?y"}
