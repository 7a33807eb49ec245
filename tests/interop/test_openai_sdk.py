"""OpenAI's Python SDK, pointed at our own server."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from tests.interop.live import LONG, Live, until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def client(live: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.http}/v1", api_key="unused", max_retries=0) as sdk:
        yield sdk


def opened(b64_json: str | None) -> Image.Image:
    assert b64_json
    return Image.open(io.BytesIO(base64.b64decode(b64_json)))


def test_bad_fields_are_a_bad_request(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt="a fox", n=99, size="1x1")
    assert caught.value.status_code == 400
    assert caught.value.param == "size"
    assert "n" in str(caught.value)


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.images.generate(prompt="a fox", model="stable-diffusion-9")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_a_full_queue_is_a_rate_limit_error(client: openai.OpenAI, live: Live) -> None:
    with live.full_queue(), pytest.raises(openai.RateLimitError) as caught:
        client.images.generate(prompt="a fox")
    assert int(caught.value.response.headers["retry-after"]) >= 1


def test_two_images_with_our_own_parameters(client: openai.OpenAI) -> None:
    extra = {
        "negative_prompt": "dull",
        "num_inference_steps": 3,
        "guidance_scale": 4.0,
        "seed": 11,
    }
    answer = client.images.generate(prompt="a fox", n=2, size="64x128", extra_body=extra)
    items: list[Any] = answer.data or []
    pictures = [opened(item.b64_json) for item in items]
    assert [picture.size for picture in pictures] == [(64, 128), (64, 128)]
    assert pictures[0].tobytes() != pictures[1].tobytes()
    assert [item.seed for item in items] == [11, 12]
    assert answer.size == "64x128"


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_output_formats(client: openai.OpenAI, output_format: Any) -> None:
    answer = client.images.generate(
        prompt="a fox", output_format=output_format, extra_body={"num_inference_steps": 2}
    )
    assert opened((answer.data or [])[0].b64_json).format == output_format.upper()


def test_streaming_brings_previews_of_the_very_picture(client: openai.OpenAI) -> None:
    extra = {"num_inference_steps": 24, "seed": 3}
    stream = client.images.generate(prompt="a fox", stream=True, partial_images=2, extra_body=extra)
    events = list(stream)
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    previews = [opened(event.b64_json) for event in events[:-1]]
    assert {preview.format for preview in previews} == {"JPEG"}
    assert previews[0].tobytes() != previews[1].tobytes()
    plain = client.images.generate(prompt="a fox", extra_body=extra)
    assert events[-1].b64_json == (plain.data or [])[0].b64_json


def test_leaving_a_stream_frees_the_model(client: openai.OpenAI, live: Live) -> None:
    extra = {"num_inference_steps": LONG["num_inference_steps"]}
    stream = client.images.generate(
        prompt="a fox",
        size="256x256",
        stream=True,
        partial_images=3,
        extra_body=extra,
    )
    cancelled = live.status().counters.cancelled
    assert next(iter(stream)).type == "image_generation.partial_image"
    stream.close()
    until(lambda: live.is_idle)
    assert live.status().counters.cancelled == cancelled + 1


def test_models(client: openai.OpenAI, live: Live) -> None:
    names = [model.id for model in client.models.list()]
    served = [model.name for model in live.status().models]
    assert names[: len(served)] == served
    assert {"dall-e-3", "gpt-image-1-mini"} <= set(names)
    for name in names:
        assert client.models.retrieve(name).id == name


def test_a_model_of_openais_is_ours_and_ten_pictures_are_made(client: openai.OpenAI) -> None:
    extra = {"steps": 1, "seed": 3, "watermark": False}
    answer = client.images.with_raw_response.generate(
        prompt="a fox",
        model="gpt-image-1",
        n=10,
        size="64x64",
        output_format="webp",
        output_compression=60,
        background="transparent",
        extra_body=extra,
    )
    assert answer.headers["x-ignored-parameters"] == "watermark, background"
    parsed = answer.parse()
    assert parsed.background == "opaque"
    pictures = [opened(item.b64_json) for item in parsed.data or []]
    assert [picture.format for picture in pictures] == ["WEBP"] * 10


def test_a_picture_by_its_address(client: openai.OpenAI, live: Live) -> None:
    extra = {"num_inference_steps": 1, "seed": 3}
    ask = partial(client.images.generate, prompt="a fox", size="64x64", extra_body=extra)
    [item] = ask(response_format="url").data or []
    [plain] = ask().data or []
    assert item.url is not None
    assert item.url.startswith(live.http)
    content = httpx.get(item.url, trust_env=False).content
    assert content == base64.b64decode(plain.b64_json or "")


def test_a_stream_of_two_pictures(client: openai.OpenAI) -> None:
    extra = {"num_inference_steps": 1}
    stream = client.images.generate(prompt="a fox", n=2, stream=True, extra_body=extra)
    assert [event.type for event in stream] == ["image_generation.completed"] * 2
