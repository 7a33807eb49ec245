"""A file of the ESRGAN family behind A1111's API, from the folder to the pixels of the answer."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from backend.images import encode_plain
from backend.model.upscalers.upscalers import Upscalers
from backend.params import ImageFormat
from tests.support.http_front import front
from tests.support.served import served
from tests.support.upscaler_files import needs_spandrel, whole, write_compact, write_rrdb

pytestmark = needs_spandrel

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
SHOWN = base64.b64encode(encode_plain(PIXELS, ImageFormat.PNG)).decode()


def pixels_of(text: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


@pytest.mark.parametrize(("write", "scale"), [(write_compact, 2), (write_rrdb, 4)])
async def test_extra_single_image_and_hires_fix(write: Any, scale: int, tmp_path: Path) -> None:
    network = write(tmp_path / "RealESRGAN_x4plus.safetensors")
    async with served() as running, front(running.server.local_target) as http:
        running.backend._pictures.upscalers = Upscalers(tmp_path, lambda: torch.device("cpu"))
        fields = {"image": SHOWN, "upscaler_1": "R-ESRGAN 4x+", "upscaling_resize": scale}
        answer = await http.post("/sdapi/v1/extra-single-image", json=fields)
        hires = {"enable_hr": True, "hr_upscaler": "R-ESRGAN 4x+", "hr_scale": 2}
        sizes = {"prompt": "a fox", "seed": 1, "steps": 4, "width": 64, "height": 64}
        drawn = await http.post("/sdapi/v1/txt2img", json={**sizes, **hires})
    assert np.array_equal(pixels_of(answer.json()["image"]), whole(network, PIXELS))
    assert pixels_of(drawn.json()["images"][0]).shape == (128, 128, 3)
    info = json.loads(drawn.json()["info"])
    assert info["extra_generation_params"]["Hires upscaler"] == "RealESRGAN_x4plus"
