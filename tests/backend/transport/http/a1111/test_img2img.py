from __future__ import annotations

import base64
import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.support.fake_service import FakeService

pytestmark = pytest.mark.asyncio(loop_scope="module")

IMG2IMG = "/sdapi/v1/img2img"
LEFT_RED = np.zeros((32, 64, 3), np.uint8)
LEFT_RED[:, :32, 0] = 255


def base64_of(pixels: Any, mode: str | None = None) -> str:
    out = io.BytesIO()
    Image.fromarray(np.asarray(pixels), mode).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def pixels_of(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def body(**fields: Any) -> dict[str, Any]:
    given = {"prompt": "a fox", "steps": 10, "width": 64, "height": 64}
    return given | {"init_images": [base64_of(LEFT_RED)]} | fields


async def test_the_picture_and_its_strength_arrive(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    answer = await http.post(IMG2IMG, json=body(denoising_strength=0.4, seed=5))
    assert answer.status_code == 200, answer.text
    assert answer.json()["parameters"]["init_images"] is None
    assert json.loads(answer.json()["info"])["all_seeds"] == [5]
    [seen] = service.requests
    assert seen.strength == pytest.approx(0.4)
    sent = pixels_of(seen.init_image)
    assert sent.shape == (64, 64, 3)  # stretched, the whole picture
    assert sent[0, 0].tolist() == [255, 0, 0]
    assert sent[0, 63].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("mode", "red"), [(0, 16), (1, 0)])
async def test_the_default_strength_and_both_ways_to_resize(
    http: httpx.AsyncClient, service: FakeService, mode: int, red: int
) -> None:
    """A quarter of it is red: stretched it stays so, and cropped to the middle it is gone."""
    quarter = np.zeros((32, 64, 3), np.uint8)
    quarter[:, :16, 0] = 255
    await http.post(IMG2IMG, json=body(resize_mode=mode, init_images=[base64_of(quarter)]))
    [seen] = service.requests
    assert seen.strength == 0.75
    assert (pixels_of(seen.init_image)[0, :, 0] > 200).sum() == red


@pytest.mark.parametrize("inverted", [0, 1])
async def test_a_mask_of_another_size_is_fitted_and_may_be_inverted(
    http: httpx.AsyncClient, service: FakeService, inverted: int
) -> None:
    mask = np.zeros((16, 16), np.uint8)
    mask[:, 8:] = 255
    fields = body(mask=base64_of(mask), inpainting_mask_invert=inverted)
    assert (await http.post(IMG2IMG, json=fields)).status_code == 200
    [seen] = service.requests
    sent = pixels_of(seen.mask)
    assert sent.shape == (64, 64, 3)
    assert set(np.unique(sent)) == {0, 255}
    assert bool(sent[0, 63, 0] == 255) is not bool(inverted)


async def test_what_is_transparent_is_white_and_a_masks_transparency_counts(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    clear = np.zeros((64, 64, 4), np.uint8)
    clear[:, 32:, 3] = 255
    fields = body(init_images=[base64_of(clear)], mask=base64_of(clear))
    assert (await http.post(IMG2IMG, json=fields)).status_code == 200
    [seen] = service.requests
    assert pixels_of(seen.init_image)[0, 0].tolist() == [255, 255, 255]
    assert pixels_of(seen.mask)[0, 0, 0] == 0
    assert pixels_of(seen.mask)[0, 63, 0] == 255


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"init_images": None}, 404, "Init image not found"),
        ({"init_images": []}, 422, "init_images: "),
        ({"init_images": ["no picture"]}, 422, "image: "),
        ({"init_images": [7]}, 422, "init_images.0: "),
        ({"mask": "AAAA"}, 422, "image: "),
        ({"width": 10**6, "height": 10**6}, 422, "image: At most"),
        ({"denoising_strength": "much"}, 422, "denoising_strength: "),
    ],
)
async def test_what_cannot_be_used_is_named(
    http: httpx.AsyncClient,
    service: FakeService,
    fields: dict[str, Any],
    status: int,
    text: str,
) -> None:
    answer = await http.post(IMG2IMG, json=body(**fields))
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(text)
    assert service.requests == []


# What webuiapi 0.9.17 sends beside what is set, and a program with a script and ControlNet.
SENT_ANYWAY: dict[str, Any] = {
    "resize_mode": 0, "image_cfg_scale": 1.5, "mask_blur": 4, "inpainting_fill": 0,
    "inpaint_full_res": True, "inpaint_full_res_padding": 0, "inpainting_mask_invert": 0,
    "initial_noise_multiplier": 1, "styles": [], "subseed": -1, "subseed_strength": 0,
    "seed_resize_from_h": 0, "seed_resize_from_w": 0, "sampler_name": "Euler",
    "scheduler": "automatic", "restore_faces": False, "tiling": False, "eta": 1.0, "s_churn": 0,
    "s_tmax": 0, "s_tmin": 0, "s_noise": 1, "override_settings": {},
    "override_settings_restore_afterwards": True, "send_images": True,
    "save_images": False, "do_not_save_grid": False, "include_init_images": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("scripts", "named"),
    [
        ({"script_name": None, "alwayson_scripts": {}}, []),
        ({"script_name": "", "alwayson_scripts": []}, []),
        (
            {
                "script_name": "SD upscale",
                "script_args": ["", 64, "R-ESRGAN 4x+", 2],
                "alwayson_scripts": {"ControlNet": {"args": [{"module": "canny"}]}},
            },
            ["SD upscale", "ControlNet"],
        ),
    ],
)
async def test_what_programs_send_anyway_is_taken_and_what_has_no_effect_is_named(
    http: httpx.AsyncClient, scripts: dict[str, Any], named: list[str]
) -> None:
    answer = await http.post(IMG2IMG, json=body(**SENT_ANYWAY | scripts))
    assert answer.status_code == 200, answer.text
    told = [f"{name}: there are no scripts here, it had no effect." for name in named]
    assert json.loads(answer.json()["info"])["warnings"] == told


async def test_the_masked_part_alone_is_not_drawn_larger_and_that_is_said(
    http: httpx.AsyncClient,
) -> None:
    mask = np.zeros((16, 16), np.uint8)
    mask[:, 8:] = 255
    answer = await http.post(IMG2IMG, json=body(**SENT_ANYWAY, mask=base64_of(mask)))
    (warning,) = json.loads(answer.json()["info"])["warnings"]
    assert warning.startswith("inpaint_full_res: the whole picture is drawn")


async def test_the_pictures_come_back_with_the_parameters_if_asked_for(
    http: httpx.AsyncClient,
) -> None:
    sent = body(include_init_images=True)
    answer = await http.post(IMG2IMG, json=sent)
    assert answer.json()["parameters"]["init_images"] == sent["init_images"]
