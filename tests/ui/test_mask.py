"""Masks as the studio prepares them."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ui.mask import BadMask, for_canvas, from_canvas, prepared_mask, tinted, upright_size
from ui.storage.picture import Unkeepable

ORIENTATION = 0x0112


def file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def left_half(width: int, height: int) -> Image.Image:
    mask = Image.new("L", (width, height))
    mask.paste(255, (0, 0, width // 2, height))
    return mask


@pytest.fixture
def on_its_side() -> bytes:
    """40 x 60 pixels in the file, shown as 60 x 40."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return file(Image.new("RGB", (40, 60), "red"), "JPEG", exif=exif)


def test_a_mask_has_the_size_of_the_upright_picture(on_its_side: bytes) -> None:
    assert upright_size(on_its_side) == (60, 40)
    assert opened(for_canvas(on_its_side)).size == (60, 40)
    mask = opened(prepared_mask(file(left_half(120, 80)), on_its_side))
    assert mask.size == (60, 40)
    pixels = np.asarray(mask.convert("L"))
    assert (pixels[:, :30] == 255).all()
    assert (pixels[:, 30:] == 0).all()


def test_what_was_painted_arrives(on_its_side: bytes) -> None:
    drawn = base64.b64encode(file(left_half(60, 40).convert("RGBA"))).decode()
    mask = opened(from_canvas(f"data:image/png;base64,{drawn}", on_its_side))
    assert mask.getbbox() == (0, 0, 30, 40)


def test_grey_goes_by_the_nearer_and_what_is_transparent_stays(on_its_side: bytes) -> None:
    grey = left_half(60, 40).point(lambda value: 128 if value else 127)
    assert opened(prepared_mask(file(grey), on_its_side)).getbbox() == (0, 0, 30, 40)
    clear = Image.new("RGBA", (60, 40), (255, 255, 255, 0))
    clear.paste((255, 255, 255, 255), (0, 0, 10, 10))
    assert opened(prepared_mask(file(clear), on_its_side)).getbbox() == (0, 0, 10, 10)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (Image.new("L", (60, 40)), "nothing in it is white"),
        (Image.new("L", (40, 60), 255), "40 × 60 pixels and the picture 60 × 40"),
    ],
)
def test_a_wrong_mask_is_refused(mask: Image.Image, words: str, on_its_side: bytes) -> None:
    with pytest.raises(BadMask, match=words):
        prepared_mask(file(mask), on_its_side)


def test_hostile_files_are_refused(on_its_side: bytes) -> None:
    with pytest.raises(Unkeepable):
        prepared_mask(b"x", on_its_side)
    with pytest.raises(Unkeepable):
        prepared_mask(file(Image.new("1", (9000, 9000), 1)), on_its_side)
    noise = np.random.default_rng(0).integers(0, 256, (40, 60), np.uint8)
    half = file(Image.fromarray(noise))
    with pytest.raises(BadMask, match="damaged"):
        prepared_mask(half[: len(half) // 2], on_its_side)
    for drawn in ("", "data:image/png;base64,???", "data:text/html;base64,AAAA"):
        with pytest.raises(BadMask, match="did not arrive"):
            from_canvas(drawn, on_its_side)


def test_the_thumbnail_shows_the_part(on_its_side: bytes) -> None:
    pixels = np.asarray(opened(tinted(on_its_side, file(left_half(60, 40))))).astype(int)
    assert pixels.shape == (40, 60, 3)
    assert pixels[:, 5, 2].min() > pixels[:, 5, 0].max() - 60  # blue came in
    assert pixels[:, 55, 2].max() < 30
    assert pixels[:, 55, 0].min() > 220


def test_a_picture_with_transparency_is_painted_on_white() -> None:
    clear = file(Image.new("RGBA", (1500, 750), (255, 0, 0, 0)))
    shown = opened(for_canvas(clear))
    assert shown.size == (1024, 512)
    assert np.asarray(shown).min() > 250
