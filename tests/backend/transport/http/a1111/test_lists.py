"""Menus and options, of which A1111's clients ask before their first picture."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from proto import text2image_pb2 as pb
from tests.support.fake_service import FakeService

pytestmark = pytest.mark.asyncio(loop_scope="module")

API = "/sdapi/v1/"
TITLE = "fake [0123abcd]"


async def get(http: httpx.AsyncClient, path: str) -> Any:
    answer = await http.get(API + path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_menus_tell_what_is_served(http: httpx.AsyncClient, service: FakeService) -> None:
    service.status.schedulers[:] = ["ddim", "dpmpp_2m_karras"]
    service.status.loras[:] = ["pixel"]
    [model] = await get(http, "sd-models")
    assert (model["title"], model["model_name"], model["hash"]) == (TITLE, "fake", "0123abcd")
    assert [one["name"] for one in await get(http, "samplers")] == ["DDIM", "DPM++ 2M Karras"]
    assert [one["label"] for one in await get(http, "schedulers")] == ["Automatic", "Karras"]
    assert [one["name"] for one in await get(http, "loras")] == ["pixel"]
    assert [one["name"] for one in await get(http, "upscalers")] == ["None", "Lanczos", "Nearest"]
    assert set(await get(http, "embeddings")) == {"loaded", "skipped"}


@pytest.mark.parametrize(
    "path", ["latent-upscale-modes", "sd-vae", "sd-modules", "prompt-styles", "face-restorers"]
)
async def test_what_there_is_none_of_is_an_empty_list(http: httpx.AsyncClient, path: str) -> None:
    assert await get(http, path) == []


async def test_memory_in_a1111s_words(http: httpx.AsyncClient, service: FakeService) -> None:
    resources = service.status.resources
    resources.system_memory_bytes, resources.process_memory_bytes = 100, 30
    usage = {"total": 100, "used": 30, "free": 70}
    assert await get(http, "memory") == {"ram": usage, "cuda": {"error": "unavailable"}}
    resources.gpus.add(name="H200", memory_bytes=80, memory_used_bytes=20)
    cuda = (await get(http, "memory"))["cuda"]
    assert cuda == {"system": {"total": 80, "used": 20, "free": 60}}


async def test_ping(http: httpx.AsyncClient) -> None:
    assert (await http.get("/internal/ping")).json() == {}


async def test_options_come_back_whole_and_change_nothing(http: httpx.AsyncClient) -> None:
    """Open WebUI sends back all that it was told."""
    before = await get(http, "options")
    assert before["sd_model_checkpoint"] == TITLE
    assert "forge_preset" not in before
    answer = await http.post(API + "options", json=before | {"unknown": {"a": [1]}})
    assert (answer.status_code, answer.json()) == (200, None)
    assert await get(http, "options") == before


@pytest.mark.parametrize("name", [TITLE, "fake", "fake.safetensors", "0123abcd", "", None])
async def test_a_model_is_found_by_each_of_its_names(http: httpx.AsyncClient, name: object) -> None:
    answer = await http.post(API + "options", json={"sd_model_checkpoint": name})
    assert answer.status_code == 200


async def test_a_second_model_is_chosen_for_the_caller(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.status.models.append(pb.GetStatusResponse.Model(name="other", revision="4567"))
    await http.post(API + "options", json={"sd_model_checkpoint": "other [4567]"})
    assert (await get(http, "options"))["sd_model_checkpoint"] == "other [4567]"
    await http.post(API + "txt2img", json={"prompt": "a fox"})
    override = {"sd_model_checkpoint": "fake"}
    await http.post(API + "txt2img", json={"prompt": "a fox", "override_settings": override})
    assert [request.model for request in service.requests] == ["other", "fake"]


async def test_an_unknown_model_or_format_is_refused(http: httpx.AsyncClient) -> None:
    missing = await http.post(API + "options", json={"sd_model_checkpoint": "dreamy"})
    assert missing.status_code == 404
    assert missing.json()["detail"] == f"Model not found. There are: {TITLE}."
    answer = await http.post(API + "options", json={"samples_format": "avif"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("samples_format: Must be one of png")


@pytest.mark.parametrize("what", ["checkpoints", "embeddings", "loras", "vae"])
async def test_refreshing_is_done_already(http: httpx.AsyncClient, what: str) -> None:
    answer = await http.post(f"{API}refresh-{what}")
    assert (answer.status_code, answer.json()) == (200, None)


async def test_a_picture_cannot_be_described(http: httpx.AsyncClient) -> None:
    answer = await http.post(API + "interrogate", json={"image": "AAAA", "model": "clip"})
    assert (answer.status_code, answer.json()["error"]) == (404, "HTTPException")
    assert "no model that describes pictures" in answer.json()["detail"]
