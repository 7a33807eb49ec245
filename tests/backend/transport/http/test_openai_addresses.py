"""Pictures by their addresses, as OpenAI's API tells them."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import pytest

from backend.transport.http.openai.shelf import Picture, Shelf
from tests.support.fake_service import FakeService
from tests.support.http_front import IMAGES, front


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
