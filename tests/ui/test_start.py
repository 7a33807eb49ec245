"""What is sent of a picture to start from."""

import io

import numpy as np
import pytest
from PIL import Image

from ui.start import MAX_BYTES, MAX_SIDE, prepared
from ui.storage.picture import Unkeepable


def file(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def test_what_fits_is_sent_as_it_is() -> None:
    data = file(Image.new("RGB", (640, 480), "teal"))
    assert prepared(data) == data


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_what_is_too_large_is_made_smaller_and_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: stored wide, shown tall
    data = file(Image.new("RGB", (3000, 1500), "teal"), kind, exif=exif)
    found = Image.open(io.BytesIO(prepared(data)))
    assert (found.format, found.size) == ("JPEG", (MAX_SIDE // 2, MAX_SIDE))
    assert np.abs(np.asarray(found).mean((0, 1)) - (0, 128, 128)).max() < 5


def test_many_bytes_in_few_pixels_are_made_fewer_on_white() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200, 4), np.uint8)
    noise[..., 3] = 0
    data = file(Image.fromarray(noise), compress_level=0)
    assert len(data) > MAX_BYTES >= len(prepared(data))
    assert np.asarray(Image.open(io.BytesIO(prepared(data)))).min() > 250


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(Unkeepable):
        prepared(data)
