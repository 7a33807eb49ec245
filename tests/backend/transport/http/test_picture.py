from __future__ import annotations

import httpx
import pytest

from tests.support.fake_service import FakeService
from tests.support.http_front import GENERATE


async def test_two_pictures_do_not_fit_into_one_answer(http: httpx.AsyncClient) -> None:
    fields = {"prompt": "a fox", "num_images": 2}
    answer = await http.post(GENERATE, json=fields, headers={"accept": "image/png"})
    assert answer.status_code == 400
    [violation] = answer.json()["details"][0]["debug"]["fieldViolations"]
    assert violation["field"] == "num_images"


async def test_accept_and_output_format_must_agree(http: httpx.AsyncClient) -> None:
    fields = {"prompt": "a fox", "output_format": "IMAGE_FORMAT_JPEG"}
    answer = await http.post(GENERATE, json=fields, headers={"accept": "image/png"})
    assert answer.status_code == 406


async def test_a_withheld_picture_is_403(http: httpx.AsyncClient, service: FakeService) -> None:
    service.nsfw = [0]
    answer = await http.post(GENERATE, json={"prompt": "a fox"}, headers={"accept": "image/png"})
    assert answer.status_code == 403
    assert answer.json()["details"][0]["debug"]["reason"] == "NSFW_DETECTED"


@pytest.mark.parametrize(
    ("accept", "kind", "magic"),
    [
        ("image/png", "image/png", b"\x89PNG"),
        ("image/*", "image/png", b"\x89PNG"),
        ("image/jpeg, */*;q=0.1", "image/jpeg", b"\xff\xd8"),
        ("image/webp;q=1, image/png", "image/webp", b"RIFF"),
    ],
)
async def test_the_picture_itself(
    http: httpx.AsyncClient, accept: str, kind: str, magic: bytes
) -> None:
    fields = {"prompt": "a fox", "seed": 11, "request_id": "mine"}
    answer = await http.post(GENERATE, json=fields, headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert answer.content.startswith(magic)
    assert (answer.headers["x-seed"], answer.headers["x-request-id"]) == ("11", "mine")


async def test_json_first_means_json(http: httpx.AsyncClient) -> None:
    headers = {"accept": "application/json, image/png"}
    answer = await http.post(GENERATE, json={"prompt": "a fox"}, headers=headers)
    assert answer.headers["content-type"] == "application/json"
