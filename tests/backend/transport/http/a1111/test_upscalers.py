"""Networks that enlarge pictures, behind A1111's names."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from proto import text2image_pb2 as pb
from tests.backend.transport.http.a1111.test_pictures import EXTRA, TEXT, opened, picture, told
from tests.support.fake_service import FakeService

pytestmark = pytest.mark.asyncio(loop_scope="module")

TXT2IMG = "/sdapi/v1/txt2img"
NETWORK = "RealESRGAN_x4plus"


@pytest.fixture(autouse=True)
def networks(service: FakeService) -> None:
    service.status.upscalers[:] = ["lanczos", NETWORK, "mine"]


async def test_they_are_listed_beside_the_filters(http: httpx.AsyncClient) -> None:
    found = (await http.get("/sdapi/v1/upscalers")).json()
    assert [one["name"] for one in found] == ["None", "Lanczos", "Nearest", NETWORK, "mine"]


def pixels_of(image: Image.Image) -> Any:
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("name", ["R-ESRGAN 4x+", NETWORK, "mine"])
async def test_a_picture_is_enlarged_by_the_service(
    http: httpx.AsyncClient, service: FakeService, name: str
) -> None:
    """The fake service repeats pixels, which no filter of ours does for these names."""
    source = picture(pnginfo=told())
    fields = {"image": source, "upscaler_1": name, "upscaling_resize": 3, "gfpgan_visibility": 0}
    made = opened(await http.post(EXTRA, json=fields))
    original = pixels_of(Image.open(io.BytesIO(base64.b64decode(source))))
    assert np.array_equal(pixels_of(made), original.repeat(3, 0).repeat(3, 1))
    assert made.info["parameters"] == TEXT
    [seen] = service.upscaled
    assert (seen.upscaler, seen.scale) == ("mine" if name == "mine" else NETWORK, 3.0)
    assert seen.output_format == pb.IMAGE_FORMAT_PNG


@pytest.mark.parametrize(
    ("fields", "size", "scale"),
    [
        ({"upscaling_resize": 0.5}, (32, 16), 1),
        ({"resize_mode": 1, "upscaling_resize_w": 128, "upscaling_resize_h": 128}, (128, 128), 4),
        (
            {
                "resize_mode": 1,
                "upscaling_resize_w": 128,
                "upscaling_resize_h": 128,
                "upscaling_crop": False,
            },
            (128, 64),
            2,
        ),
        ({"resize_mode": 1, "upscaling_resize_w": 32, "upscaling_resize_h": 8}, (32, 8), 1),
    ],
)
async def test_sizes(
    http: httpx.AsyncClient,
    service: FakeService,
    fields: dict[str, Any],
    size: tuple[int, int],
    scale: float,
) -> None:
    answer = await http.post(EXTRA, json={"image": picture(), "upscaler_1": "mine", **fields})
    assert opened(answer).size == size
    assert service.upscaled[0].scale == scale


async def test_an_unknown_one_is_told_with_those_that_exist(http: httpx.AsyncClient) -> None:
    answer = await http.post(EXTRA, json={"image": picture(), "upscaler_1": "SwinIR 4x"})
    assert answer.status_code == 404
    assert answer.json()["detail"].endswith(f"None, Lanczos, Nearest, {NETWORK}, mine.")


def hires(**fields: Any) -> dict[str, Any]:
    given = {"prompt": "a fox", "width": 128, "height": 64, "seed": 5, "steps": 4}
    asked = {"enable_hr": True, "hr_upscaler": "R-ESRGAN 4x+", "hr_scale": 2}
    return given | asked | {"denoising_strength": 0.4} | fields


async def test_hires_fix_draws_anew_what_a_network_enlarged(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    override = {"samples_format": "jpg"}
    answer = await http.post(TXT2IMG, json=hires(batch_size=2, override_settings=override))
    assert answer.status_code == 200, answer.text
    first, *second = service.requests
    assert (first.num_images, first.HasField("upscale"), first.init_image) == (2, False, b"")
    assert first.output_format == pb.IMAGE_FORMAT_PNG, "what is enlarged has lost nothing"
    assert [one.seed for one in second] == [5, 6]
    for before, after in zip(service.upscaled, second, strict=True):
        assert (before.upscaler, before.scale) == (NETWORK, 2.0)
        assert Image.open(io.BytesIO(before.image)).size == (128, 64)
        assert Image.open(io.BytesIO(after.init_image)).size == (256, 128)
        assert (after.width, after.height, after.num_images) == (256, 128, 1)
        assert after.strength == pytest.approx(0.4)
        assert after.output_format == pb.IMAGE_FORMAT_JPEG
    body = answer.json()
    sizes = [Image.open(io.BytesIO(base64.b64decode(one))).size for one in body["images"]]
    assert sizes == [(256, 128)] * 2
    info = json.loads(body["info"])
    assert info["extra_generation_params"] == {"Hires upscale": 2.0, "Hires upscaler": NETWORK}
    assert (info["all_seeds"], info["denoising_strength"]) == ([5, 6], 0.4)
    assert (info["batch_size"], info["warnings"]) == (2, [])


@pytest.mark.parametrize("fields", [{"hr_scale": 9}, {"hr_scale": 4, "width": 512, "height": 512}])
async def test_one_that_would_be_too_large_is_refused_before_anything_is_drawn(
    http: httpx.AsyncClient, service: FakeService, fields: dict[str, Any]
) -> None:
    answer = await http.post(TXT2IMG, json=hires(**fields))
    assert (answer.status_code, service.requests) == (422, [])
    assert answer.json()["detail"].startswith("hr_scale: ")


async def test_what_is_withheld_is_not_enlarged(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.nsfw = (0,)
    await http.post(TXT2IMG, json=hires(batch_size=2))
    assert len(service.upscaled) == 1
