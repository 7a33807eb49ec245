from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from backend.transport.http.openai.request import header_of
from backend.transport.http.openai.shelf import Picture, Shelf
from proto import text2image_pb2 as pb
from tests.support.fake_service import Failure, FakeService, bad_request, error_info, retry_info
from tests.support.http_front import IMAGES, front, parse_events

MANY = [f"n{number:02}" for number in range(20)]
PNG_STORY = {"parameters": "a fox\nSteps: 3", "text2image": '{"prompt": "a fox"}'}


@pytest.fixture
async def renamed(service: FakeService) -> AsyncIterator[httpx.AsyncClient]:
    """A front with aliases of its own."""
    async with front(service, openai_aliases=("dall-e-3", "gpt-image-*")) as client:
        yield client


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


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"steps": 7, "cfg_scale": 2.5}, {"num_inference_steps": 7, "guidance_scale": 2.5}),
        ({"cfg": 0}, {"guidance_scale": 0.0}),
        ({"width": 128, "height": 64, "size": "auto"}, {"width": 128, "height": 64}),
        ({"width": 128}, {"width": 128}),
        ({"size": ""}, {}),
        ({"n": 10}, {"num_images": 10}),
        ({"model": ""}, {}),
        ({"model": "dall-e-3"}, {}),
        ({"model": "gpt-image-2"}, {}),
        ({"model": "dall-e-2"}, {"model": "dall-e-2"}),
    ],
)
async def test_names_of_other_servers_are_understood(
    renamed: httpx.AsyncClient,
    service: FakeService,
    fields: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    answer = await renamed.post(IMAGES, json={"prompt": "a fox", **fields})
    assert answer.status_code == 200
    assert service.requests == [pb.GenerateImageRequest(prompt="a fox", **expected)]


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


# Addresses of pictures.


async def test_a_url_brings_the_very_picture_to_who_knows_it(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    fields = {"prompt": "a fox", "n": 2, "seed": 5}
    plain = (await http.post(IMAGES, json=fields)).json()["data"]
    asked = {**fields, "response_format": "url"}
    items = (await http.post(IMAGES, json=asked)).json()["data"]
    assert [set(item) for item in items] == [{"url", "seed", "nsfw_detected"}] * 2
    assert len({item["url"] for item in items}) == 2
    for item, other in zip(items, plain, strict=True):
        assert item["url"].startswith(f"{http.base_url}/v1/images/files/")
        assert len(item["url"].rsplit("/", 1)[1]) > 40
        picture = await http.get(item["url"])
        assert picture.headers["content-type"] == "image/png"
        assert picture.headers["cache-control"] == "private, max-age=300, immutable"
        assert picture.content == base64.b64decode(other["b64_json"])


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        ({}, {"url", "b64_json"}),
        ({"model": "dall-e-2"}, {"url", "b64_json"}),
        ({"model": "gpt-image-1"}, {"b64_json"}),
        ({"model": "dall-e-2", "response_format": "b64_json"}, {"b64_json"}),
        ({"model": "fake"}, {"b64_json"}),
    ],
)
async def test_dall_e_is_answered_with_addresses_too(
    service: FakeService, fields: dict[str, Any], keys: set[str]
) -> None:
    """OpenAI answers it with addresses unless base64 is asked for, and programs rely on that."""
    async with front(service, openai_aliases=("dall-e-*", "gpt-image-*")) as http:
        [item] = (await http.post(IMAGES, json={"prompt": "a fox", **fields})).json()["data"]
        assert item.keys() - {"seed", "nsfw_detected"} == keys
        if "url" in keys:
            picture = (await http.get(item["url"])).content
            assert picture == base64.b64decode(item["b64_json"])


async def test_an_address_begins_as_the_client_called_us(http: httpx.AsyncClient) -> None:
    fields = {"prompt": "a fox", "response_format": "url"}
    answer = await http.post(IMAGES, json=fields, headers={"host": "studio.localhost:99"})
    [item] = answer.json()["data"]
    assert item["url"].startswith("http://studio.localhost:99/v1/images/files/")


async def test_a_name_that_nobody_was_told_is_404(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/images/files/guess.png")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_pictures_go_after_their_time_and_the_oldest_first() -> None:
    shelf = Shelf(ttl_s=0.05, max_bytes=10)
    first = shelf.put(Picture(b"123456", "image/png"))
    second = shelf.put(Picture(b"12345", "image/webp"))
    assert shelf.get(first) is None
    assert shelf.get(second) == (b"12345", "image/webp")
    assert second.endswith(".webp")
    await asyncio.sleep(0.1)
    assert shelf.get(second) is None


async def test_where_nothing_is_kept_a_url_is_refused_before_the_work(
    service: FakeService,
) -> None:
    async with front(service, result_ttl_s=0, openai_aliases=("dall-e-*",)) as http:
        answer = await http.post(IMAGES, json={"prompt": "a fox", "response_format": "url"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "response_format")
        assert service.requests == []
        plain = await http.post(IMAGES, json={"prompt": "a fox", "model": "dall-e-2"})
        assert plain.json()["data"][0].keys() == {"b64_json", "seed", "nsfw_detected"}


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


async def test_a_stream_brings_every_picture_but_the_withheld(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.nsfw = [1]
    answer = await http.post(IMAGES, json={"prompt": "a", "stream": True, "n": 3, "seed": 5})
    events = parse_events(answer.text)
    assert [event.name for event in events] == ["image_generation.completed"] * 2
    assert [event.data["seed"] for event in events] == [5, 7]
    assert answer.text.endswith(": 1 withheld by the safety checker\n\n")


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


async def test_models(renamed: httpx.AsyncClient) -> None:
    listed = (await renamed.get("/v1/models", params={"type": "image"})).json()["data"]
    assert [model["id"] for model in listed] == ["fake", "dall-e-3"]
    assert listed[1] == {**listed[0], "id": "dall-e-3", "alias_of": "fake"}
    for model in listed:
        one = (await renamed.get(f"/v1/models/{model['id']}")).json()
        assert one | {"created": 0} == model | {"created": 0}
    assert (await renamed.get("/v1/models/gpt-image-9")).json()["alias_of"] == "fake"
    missing = await renamed.get("/v1/models/no/such")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


async def test_no_alias_of_nothing(renamed: httpx.AsyncClient, service: FakeService) -> None:
    del service.status.models[:]
    assert (await renamed.get("/v1/models")).json()["data"] == []
    assert (await renamed.get("/v1/models/dall-e-3")).status_code == 404


async def test_capabilities_as_localai_lists_them(renamed: httpx.AsyncClient) -> None:
    body = (await renamed.get("/v1/models/capabilities")).json()
    assert body["object"] == "list"
    assert [(model["id"], model["capabilities"]) for model in body["data"]] == [
        ("fake", ["image"]),
        ("dall-e-3", ["image"]),
    ]


def test_names_of_ignored_parameters_fit_into_a_header() -> None:
    assert header_of(["", "a b", "x,y"]) == {"X-Ignored-Parameters": "?, a?b, x?y"}
