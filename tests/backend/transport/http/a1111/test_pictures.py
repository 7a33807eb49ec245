from __future__ import annotations

import base64
import io
import zlib
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from backend.transport.http import body
from backend.transport.http.a1111 import pictures

pytestmark = pytest.mark.asyncio(loop_scope="module")

INFO, EXTRA = "/sdapi/v1/png-info", "/sdapi/v1/extra-single-image"
TEXT = "a fox\nNegative prompt: dull\nSteps: 4, Sampler: Euler a, Seed: 7, Size: 64x32"


def picture(width: int = 64, height: int = 32, kind: str = "PNG", **options: Any) -> str:
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, kind, **options)
    return base64.b64encode(out.getvalue()).decode()


def told() -> PngInfo:
    info = PngInfo()
    info.add_text("parameters", TEXT)
    info.add_text("Software", "someone's")
    return info


def opened(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(base64.b64decode(answer.json()["image"])))


def bomb(width: int, height: int) -> str:
    """A PNG that promises as many pixels, in few bytes."""
    out = io.BytesIO()
    Image.new("1", (8, 8)).save(out, "PNG")
    data = bytearray(out.getvalue())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
async def test_png_info_reads_the_settings(http: httpx.AsyncClient, prefix: str) -> None:
    answer = (await http.post(INFO, json={"image": prefix + picture(pnginfo=told())})).json()
    assert answer["info"] == TEXT
    assert answer["items"]["Software"] == "someone's"
    assert answer["parameters"]["Sampler"] == "Euler a"
    assert (answer["parameters"]["Size-1"], answer["parameters"]["Size-2"]) == ("64", "32")


async def test_a_picture_that_says_nothing(http: httpx.AsyncClient) -> None:
    answer = (await http.post(INFO, json={"image": picture(kind="JPEG")})).json()
    assert (answer["info"], answer["parameters"]) == ("", {})


@pytest.mark.parametrize("path", [INFO, EXTRA])
@pytest.mark.parametrize(
    "image",
    ["", "no base64!", "AAAA", picture()[:40], bomb(100_000, 100_000), bomb(5000, 5000), None],
)
async def test_what_is_no_picture_is_422(
    http: httpx.AsyncClient, path: str, image: str | None
) -> None:
    answer = await http.post(path, json={"image": image, "upscaler_1": "Lanczos"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("image: ")


async def test_a_body_is_bounded_and_so_are_all_together(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MAX_BODY_BYTES", 1000)
    assert (await http.post(INFO, json={"image": "x" * 2000})).status_code == 413
    monkeypatch.undo()
    image = picture()
    monkeypatch.setattr(body, "MAX_HELD_BYTES", len(image) // 2)
    refused = await http.post(INFO, json={"image": image})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    monkeypatch.undo()
    assert (await http.post(INFO, json={"image": image})).status_code == 200
    assert body._held == 0


async def test_lanczos_makes_the_pixels_between(http: httpx.AsyncClient) -> None:
    source = picture(pnginfo=told())
    fields = {"image": source, "upscaler_1": "Lanczos", "upscaling_resize": 2.5}
    made = opened(await http.post(EXTRA, json=fields))
    assert (made.size, made.mode) == ((160, 80), "RGB")
    original = Image.open(io.BytesIO(base64.b64decode(source)))
    expected = original.resize((160, 80), Image.Resampling.LANCZOS)
    assert np.array_equal(np.asarray(made), np.asarray(expected))
    assert made.info["parameters"] == TEXT


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"upscaler_1": "None", "upscaling_resize": 4}, (64, 32)),
        ({"upscaler_1": "Nearest", "upscaling_resize": 2}, (128, 64)),
        ({"resize_mode": 1, "upscaling_resize_w": 100, "upscaling_resize_h": 100}, (100, 100)),
        (
            {
                "resize_mode": 1,
                "upscaling_resize_w": 128,
                "upscaling_resize_h": 128,
                "upscaling_crop": False,
            },
            (128, 64),
        ),
    ],
)
async def test_sizes(
    http: httpx.AsyncClient, fields: dict[str, Any], size: tuple[int, int]
) -> None:
    answer = await http.post(EXTRA, json={"image": picture(), "upscaler_1": "Lanczos", **fields})
    assert opened(answer).size == size


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"upscaler_1": "R-ESRGAN 4x+"}, 404),
        ({"upscaling_resize": 1000}, 422),
        ({"upscaling_resize": 1e300}, 422),
        ({"upscaling_resize": -1}, 422),
        ({"resize_mode": 1, "upscaling_resize_w": 10**9}, 422),
    ],
)
async def test_what_cannot_be_made_is_refused(
    http: httpx.AsyncClient, fields: dict[str, Any], status: int
) -> None:
    answer = await http.post(EXTRA, json={"image": picture(), "upscaler_1": "Lanczos", **fields})
    assert answer.status_code == status, answer.text


async def test_a_picture_lies_as_its_exif_says(http: httpx.AsyncClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side
    fields = {"image": picture(kind="JPEG", exif=exif), "upscaler_1": "Nearest"}
    assert opened(await http.post(EXTRA, json=fields)).size == (64, 128)
