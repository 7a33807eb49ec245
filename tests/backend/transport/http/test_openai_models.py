"""Models under their own names and others', as OpenAI's API lists them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from proto import text2image_pb2 as pb
from tests.support.fake_service import FakeService
from tests.support.http_front import IMAGES, front


@pytest.fixture
async def renamed(service: FakeService) -> AsyncIterator[httpx.AsyncClient]:
    """A front with aliases of its own."""
    async with front(service, openai_aliases=("dall-e-3", "gpt-image-*")) as client:
        yield client


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
