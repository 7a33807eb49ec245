"""Identifying picture files, whatever they claim, with limited memory and time."""

import io
import struct
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.ui.conftest import png
from tests.ui.metadata.pictures import packed
from tests.ui.metadata.pictures import png as pixel
from ui.storage.decoding import make_thumbnail, mime_type_of, size_of
from ui.storage.picture import Unkeepable


def large_png(side: int) -> bytes:
    """A square of this many pixels, black, by rows of zeros."""
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1 + -(-side // 8)) * side)
    chunks = ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK"])
def test_a_thumbnail_shows_the_picture_in_every_mode(mode: str, tmp_path: Path) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    source = tmp_path / "source"
    Image.new("RGB", (600, 300), "white").convert("L" if mode == "I;16" else mode).convert(
        mode
    ).save(source, kind)
    with Image.open(io.BytesIO(make_thumbnail(source.read_bytes()))) as small:
        assert small.size == (384, 192)
        pixel = small.convert("RGB").getpixel((100, 100))
    assert isinstance(pixel, tuple)
    assert min(pixel) > 240 or mode == "I;16"


def test_the_second_picture_of_a_phone_s_file_does_not_matter(tmp_path: Path) -> None:
    source = tmp_path / "phone.jpg"
    first, second = (Image.new("RGB", (40, 30), colour) for colour in ("red", "blue"))
    first.save(source, "MPO", save_all=True, append_images=[second])
    assert mime_type_of(source.read_bytes()) == "image/jpeg"
    assert make_thumbnail(source.read_bytes())


def test_damaged_and_foreign_data_is_refused_in_a_sentence(tmp_path: Path) -> None:
    whole = png(size=(300, 300))
    source = tmp_path / "source"
    Image.new("RGB", (8, 8)).save(source, "GIF")
    for data in (whole[:60], whole[: len(whole) // 2], source.read_bytes(), b"", b"\0" * 99):
        with pytest.raises(Unkeepable):
            make_thumbnail(data)


def test_a_thumbnail_of_transparency_is_made(tmp_path: Path) -> None:
    source = tmp_path / "clear.png"
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(source)
    assert make_thumbnail(source.read_bytes())


@pytest.mark.parametrize(
    "chunk",
    [
        packed("workflow", b"x" * 2_000_000),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(2_000_000))),
        (b"eXIf", b"nonsense"),
        (b"acTL", bytes(8)),
    ],
)
def test_what_lies_beside_the_pixels_does_not_matter(chunk: tuple[bytes, bytes]) -> None:
    data = pixel(chunk)
    assert size_of(data) == (1, 1)
    assert mime_type_of(data) == "image/png"
    assert make_thumbnail(data)


def test_a_flood_of_chunks_is_refused_at_once() -> None:
    flood = png()[:33] + (struct.pack(">I", 0) + b"tEXt" + bytes(4)) * 1_000_000
    started = time.process_time()
    with pytest.raises(Unkeepable):
        make_thumbnail(flood)
    assert time.process_time() - started < 2
