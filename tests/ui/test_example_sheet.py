"""All example pictures in one file, each found in its place."""

import io
import re

import pytest
from PIL import Image

from ui.example_sheet import CELL, SIDE, place, sheet

COLOURS = ((255, 0, 0), (0, 160, 0), (0, 0, 255))


def webp(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "WEBP", lossless=True)
    return file.getvalue()


def test_each_picture_fills_its_place_to_the_edge() -> None:
    made = Image.open(io.BytesIO(sheet(tuple(map(webp, COLOURS))))).convert("RGB")
    assert made.size == (len(COLOURS) * CELL, CELL)
    for number, colour in enumerate(COLOURS):
        width, left = map(float, re.findall(r"([\d.]+)% ", place(number, COLOURS)))
        assert width == pytest.approx(100 * made.width / SIDE, abs=0.01)
        x = round(left / 100 * (made.width - SIDE))
        for at in (x, x + SIDE // 2, x + SIDE - 1):
            for y in ((CELL - SIDE) // 2, CELL // 2):
                pixel = made.getpixel((at, y))
                assert isinstance(pixel, tuple)
                assert max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) < 40


def test_without_a_picture_there_is_no_sheet() -> None:
    with pytest.raises(OSError, match="identify"):
        sheet((webp(COLOURS[0]), b""))
