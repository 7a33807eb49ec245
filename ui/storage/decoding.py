"""Identifies picture files and makes thumbnails, with limited memory."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator

from PIL import Image

from ui.storage.picture import Unkeepable

THUMBNAIL_SIDE = 384  # pixels of the longer side
THUMBNAIL_QUALITY = 80
MAX_PIXELS = 40_000_000  # decoding needs four bytes for each
TOO_LARGE = f"it has more than {MAX_PIXELS // 10**6} million pixels, the most that are kept"
UNKNOWN = "it is no PNG, JPEG or WebP picture"
# Pillow's name of a format -> ours; MPO is a JPEG followed by more pictures.
FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg", "WEBP": "image/webp"}
PNG = b"\x89PNG\r\n\x1a\n"
PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
MAX_CHUNKS = 100_000

_DECODING = threading.Lock()  # only one large picture in memory at a time


def mime_type_of(data: bytes) -> str:
    """The MIME type, determined by content.

    Raises:
        Unkeepable: it is not a picture in a supported format, or it is too large.
    """
    with _opened(data) as picture:
        return FORMATS[str(picture.format)]


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height in pixels.

    Raises:
        Unkeepable: like `mime_type_of`.
    """
    with _opened(data) as picture:
        return picture.size


def make_thumbnail(data: bytes) -> bytes:
    """A WebP of at most 384 pixels per side, smoothly enlarged if the original is smaller.

    Raises:
        Unkeepable: the data is not a picture, or too large.
    """
    with _DECODING, _opened(data) as picture:
        scale = THUMBNAIL_SIDE / max(picture.size)
        width, height = (max(1, round(side * scale)) for side in picture.size)
        picture.draft("RGB", (width * 2, height * 2))  # decodes a JPEG at a fraction of its size
        try:
            small = _resized(picture, (width, height))
        except (OSError, SyntaxError, ValueError) as error:
            raise Unkeepable("the picture is damaged") from error
    file = io.BytesIO()
    small.save(file, "WEBP", quality=THUMBNAIL_QUALITY)
    return file.getvalue()


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Shrink before converting: a second copy in full size would double the memory."""
    if picture.mode not in ("RGB", "RGBA", "L", "LA"):
        return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    small = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return small.convert("RGB")


def _opened(data: bytes) -> Image.Image:
    pixels = b"".join(_png_pixels(data)) if data.startswith(PNG) else data
    try:
        picture = Image.open(io.BytesIO(pixels), formats=("PNG", "JPEG", "WEBP"))
    except Image.DecompressionBombError as error:
        raise Unkeepable(TOO_LARGE) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise Unkeepable(UNKNOWN) from error
    if picture.width * picture.height > MAX_PIXELS:
        raise Unkeepable(TOO_LARGE)
    return picture


def _png_pixels(data: bytes) -> Iterator[bytes]:
    """Only the chunks needed for a PNG's pixels: Pillow refuses files with long texts or profiles.

    Raises:
        Unkeepable: there are too many chunks.
    """
    yield PNG
    position = len(PNG)
    for _ in range(MAX_CHUNKS):
        length, kind = data[position : position + 4], data[position + 4 : position + 8]
        if len(kind) < 4:
            return
        end = position + 12 + int.from_bytes(length, "big")
        if kind in PNG_PIXELS:
            yield data[position:end]
        position = end
    raise Unkeepable(UNKNOWN)
