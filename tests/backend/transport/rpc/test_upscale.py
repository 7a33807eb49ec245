"""Upscale: a picture made larger, without a model."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from backend.upscale import Cancelled, Lanczos
from proto import text2image_pb2 as pb
from tests.support.http_front import front
from tests.support.served import TIMEOUT_S, fields_of, refusal_of, served

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)


def file(pixels: Any = PIXELS) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


async def test_it_is_enlarged_by_lanczos_and_the_answer_says_so() -> None:
    async with served() as running:
        request = pb.UpscaleRequest(image=file(), scale=2.5)
        answer = await running.stub.Upscale(request, timeout=TIMEOUT_S)
        status = await running.stub.GetStatus(pb.GetStatusRequest(), timeout=TIMEOUT_S)
    assert answer.upscaler == status.upscalers[0] == "lanczos"
    image = answer.image
    assert (image.width, image.height, image.mime_type) == (75, 100, "image/png")
    expected = Image.fromarray(PIXELS).resize((75, 100), Image.Resampling.LANCZOS)
    found = Image.open(io.BytesIO(image.data))
    assert np.array_equal(np.array(found), np.array(expected))


async def test_twice_and_other_formats_by_json() -> None:
    async with served() as running, front(running.server.local_target) as http:
        message = {
            "image": base64.b64encode(file()).decode(),
            "output_format": "IMAGE_FORMAT_WEBP",
        }
        answer = (await http.post("/text2image.Text2ImageService/Upscale", json=message)).json()
    image = answer["image"]
    assert (image["width"], image["height"], image["mimeType"]) == (60, 80, "image/webp")
    assert Image.open(io.BytesIO(base64.b64decode(image["data"]))).format == "WEBP"


class Methods(Lanczos):
    """One that makes everything white; the other draws until nobody wants it."""

    names = ("lanczos", "white")

    def __init__(self) -> None:
        self.saw_leaving = threading.Event()

    def enlarge(
        self,
        name: str,
        pixels: NDArray[np.uint8],
        width: int,
        height: int,
        is_wanted: Callable[[], bool],
    ) -> NDArray[np.uint8]:
        if name == "lanczos":
            while is_wanted():
                time.sleep(0.001)
            self.saw_leaving.set()
            raise Cancelled
        return np.full((height, width, 3), 255, np.uint8)


async def test_a_method_by_name_is_listed_used_and_told() -> None:
    async with served() as running:
        running.backend._pictures.upscalers = Methods()
        status = await running.stub.GetStatus(pb.GetStatusRequest(), timeout=TIMEOUT_S)
        request = pb.UpscaleRequest(image=file(), upscaler="white")
        answer = await running.stub.Upscale(request, timeout=TIMEOUT_S)
    assert list(status.upscalers) == ["lanczos", "white"]
    assert answer.upscaler == "white"
    assert (np.array(Image.open(io.BytesIO(answer.image.data))) == 255).all()


async def test_who_leaves_is_no_longer_drawn_for() -> None:
    async with served() as running:
        methods = running.backend._pictures.upscalers = Methods()
        call = running.stub.Upscale(pb.UpscaleRequest(image=file()), timeout=TIMEOUT_S)
        await asyncio.sleep(0.1)
        call.cancel()
        assert await asyncio.to_thread(methods.saw_leaving.wait, TIMEOUT_S)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"image": b""}, ["image"]),
        ({"image": b"x", "scale": 9.0}, ["scale", "image"]),
        ({"scale": float("inf")}, ["scale"]),
        ({"scale": 8.0, "image": file(np.zeros((200, 200, 3), np.uint8))}, ["scale"]),
        ({"upscaler": "esrgan", "output_format": 7}, ["output_format", "upscaler"]),
        ({"image": file()[:-40]}, ["image"]),
    ],
)
async def test_what_can_not_be_enlarged_is_refused(
    changes: dict[str, Any], fields: list[str]
) -> None:
    async with served() as running:
        request = pb.UpscaleRequest(**({"image": file()} | changes))
        error = await refusal_of(running.stub.Upscale(request, timeout=TIMEOUT_S))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fields_of(error) == fields
