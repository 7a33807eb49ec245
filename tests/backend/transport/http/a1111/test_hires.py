"""A1111's "hires fix": the first picture drawn again, larger."""

from __future__ import annotations

import json
from typing import Any

import grpc
import httpx
import pytest

from tests.support.fake_service import Failure, FakeService, bad_request

pytestmark = pytest.mark.asyncio(loop_scope="module")

TXT2IMG = "/sdapi/v1/txt2img"


def body(**fields: Any) -> dict[str, Any]:
    return {"prompt": "a fox", "width": 128, "height": 64, "enable_hr": True} | fields


async def test_the_second_pass_arrives_and_info_tells_of_it(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    fields = body(hr_scale=1.5, hr_upscaler="Lanczos", denoising_strength=0.4)
    answer = await http.post(TXT2IMG, json=fields)
    assert answer.status_code == 200, answer.text
    [seen] = service.requests
    assert (seen.upscale, seen.upscale_strength) == pytest.approx((1.5, 0.4))
    assert (seen.width, seen.height, seen.HasField("strength")) == (128, 64, False)
    info = json.loads(answer.json()["info"])
    assert info["denoising_strength"] == 0.4
    assert info["extra_generation_params"] == {"Hires upscale": 1.5, "Hires upscaler": "Lanczos"}
    assert info["warnings"] == []


async def test_a1111s_defaults(http: httpx.AsyncClient, service: FakeService) -> None:
    assert (await http.post(TXT2IMG, json=body())).status_code == 200
    [seen] = service.requests
    assert (seen.upscale, seen.upscale_strength) == (2.0, 0.75)


async def test_another_upscaler_is_replaced_and_said(http: httpx.AsyncClient) -> None:
    """Most programs send "Latent"."""
    answer = await http.post(TXT2IMG, json=body(hr_upscaler="Latent"))
    assert json.loads(answer.json()["info"])["warnings"] == [
        "hr_upscaler: Lanczos is what enlarges here."
    ]


@pytest.mark.parametrize(
    ("fields", "scale"),
    [
        ({"hr_resize_x": 256}, 2),
        ({"hr_resize_y": 192}, 3),
        ({"hr_resize_x": 512, "hr_resize_y": 128}, 2),
        ({"hr_resize_x": 0, "hr_resize_y": 0, "hr_scale": 4}, 4),
        ({"width": None, "height": None, "hr_resize_x": 192}, 3),  # the model's own is 64
    ],
)
async def test_a_size_to_fit_into_counts_before_the_scale(
    http: httpx.AsyncClient, service: FakeService, fields: dict[str, Any], scale: float
) -> None:
    assert (await http.post(TXT2IMG, json=body(**fields))).status_code == 200
    assert service.requests[0].upscale == scale


async def test_nothing_happens_unless_it_is_enabled(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    """SillyTavern sends the settings in any case; img2img knows none."""
    fields = body(enable_hr=False, hr_scale=2, denoising_strength=0.7)
    answer = await http.post(TXT2IMG, json=fields)
    [seen] = service.requests
    assert not any(seen.HasField(name) for name in ("upscale", "upscale_strength", "strength"))
    info = json.loads(answer.json()["info"])
    assert (info["denoising_strength"], info["extra_generation_params"]) == (None, {})


@pytest.mark.parametrize(
    ("ours", "theirs"), [("upscale", "hr_scale"), ("upscale_strength", "denoising_strength")]
)
async def test_a_refusal_names_the_field_that_was_sent(
    http: httpx.AsyncClient, service: FakeService, ours: str, theirs: str
) -> None:
    detail = bad_request(**{ours: "Must be 1 to 4."})
    service.failure = Failure(grpc.StatusCode.INVALID_ARGUMENT, "Bad.", (detail,))
    answer = await http.post(TXT2IMG, json=body(hr_scale=9))
    assert (answer.status_code, answer.json()["detail"]) == (422, f"{theirs}: Must be 1 to 4.")
