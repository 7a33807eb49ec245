"""Decodes initial pictures and masks: limits are checked first; upright, cropped to size."""

from __future__ import annotations

import asyncio
import hashlib
import io
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageOps

from backend import images
from backend.domain import GeneratedImage
from backend.draft import Draft
from backend.errors import InvalidParams, Violation
from backend.params import Limits, ModelInfo
from backend.source_picture import SourcePicture, Sources
from backend.upscale import Enlargement, Lanczos, Upscalers

FORMATS = ("PNG", "JPEG", "WEBP")
ORIENTATION = 0x0112  # EXIF's tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)

T = TypeVar("T")


class _Refused(Exception):
    """A file can't be used; the text says why."""

    def __init__(self, text: str, reason: str = "UNREADABLE") -> None:
        super().__init__(text)
        self.reason = reason


class PictureReader:
    """Decodes pictures one at a time on its own thread, since each may take 100 MB of memory.

    Another thread enlarges them: a network takes seconds for it.
    """

    def __init__(self, upscalers: Upscalers | None = None) -> None:
        self.upscalers = upscalers or Lanczos()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="picture-reader")
        self._enlarging = ThreadPoolExecutor(1, thread_name_prefix="upscaler")

    async def read(self, draft: Draft, model: ModelInfo, limits: Limits) -> Draft:
        """`draft` with `sources` instead of its files; errors become `early_violations`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, read_sources, draft, model, limits)

    async def upscale(self, wanted: Enlargement, limits: Limits) -> GeneratedImage:
        """See `upscale`."""
        gone = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._enlarging, upscale, wanted, limits, self.upscalers, lambda: not gone.is_set()
            )
        finally:
            gone.set()


class _Opened(NamedTuple):
    """A file whose header has been read. `size`: width and height after rotation."""

    image: Image.Image
    orientation: int
    sha256: str

    @property
    def size(self) -> tuple[int, int]:
        width, height = self.image.size
        return (height, width) if self.orientation in SIDEWAYS else (width, height)


def read_sources(draft: Draft, model: ModelInfo, limits: Limits) -> Draft:
    """See `PictureReader.read`. If no size is given, it follows the picture's."""
    bad: list[Violation] = []
    picture = mask = None
    if len(draft.init_image) + len(draft.mask) > limits.max_picture_bytes:
        text = f"At most {limits.max_picture_bytes:,} bytes, with the mask: send it smaller."
        bad.append(Violation("init_image", text, "TOO_LARGE"))
    else:
        picture = _try("init_image", bad, lambda: _open(draft.init_image, limits))
        mask = _try("mask", bad, lambda: _open(draft.mask, limits))
    if draft.mask and not draft.init_image:
        bad.append(Violation("mask", "A mask needs an init_image.", "NEEDS_INIT_IMAGE"))
    elif picture is not None and mask is not None and picture.size != mask.size:
        text = f"Must be of init_image's size, {_by(*picture.size)}, not {_by(*mask.size)}."
        bad.append(Violation("mask", text, "WRONG_SIZE"))
    if picture is None or bad:
        return _with(draft, Sources(), bad)
    width, height = draft.width, draft.height
    if width is None and height is None:
        width, height = size_like(*picture.size, model, limits)
        draft = replace(draft, width=width, height=height)
    size = (width or model.native_width, height or model.native_height)
    if max(size) > limits.max_size or size[0] * size[1] > limits.max_pixels or min(size) < 1:
        return _with(draft, Sources(), bad)  # refused later for its size, so don't decode
    return _with(draft, _decode_both(picture, mask, size, bad), bad)


def upscale(
    wanted: Enlargement, limits: Limits, upscalers: Upscalers, is_wanted: Callable[[], bool]
) -> GeneratedImage:
    """The enlarged picture.

    Raises:
        InvalidParams: with every bad field.
        Cancelled: it is no longer wanted.
    """
    bad = [*wanted.early_violations, *wanted.violations(upscalers)]
    picture = None
    if not wanted.data:
        bad.append(Violation("image", "Send a picture.", "REQUIRED"))
    elif len(wanted.data) > limits.max_picture_bytes:
        text = f"At most {limits.max_picture_bytes:,} bytes: send it smaller."
        bad.append(Violation("image", text, "TOO_LARGE"))
    else:
        picture = _try("image", bad, lambda: _open(wanted.data, limits))
    if picture is None or bad:
        raise InvalidParams(tuple(bad))
    width, height = (max(1, round(side * wanted.scale)) for side in picture.size)
    if width * height > limits.max_pixels:
        text = f"The larger picture may have {limits.max_pixels:,} pixels, not {width} × {height}."
        raise InvalidParams((Violation("scale", text, "TOO_MANY_PIXELS"),))
    decoded = _try("image", bad, lambda: _decode(picture, picture.size, "RGB"))
    if decoded is None:
        raise InvalidParams(tuple(bad))
    large = upscalers.enlarge(wanted.upscaler, decoded.pixels, width, height, is_wanted)
    data = images.encode_plain(large, wanted.output_format)
    return GeneratedImage(data, wanted.output_format.mime_type, width, height, 0)


def size_like(width: int, height: int, model: ModelInfo, limits: Limits) -> tuple[int, int]:
    """Width and height with about the picture's proportions that suit the model."""
    sizes = model.abilities.sizes if model.abilities is not None else ()
    if sizes:
        return min(sizes, key=lambda size: abs(math.log(size[0] * height / (size[1] * width))))
    scale = math.sqrt(model.native_width * model.native_height / (width * height))

    def fit(side: int) -> int:
        rounded = round(side * scale / limits.size_multiple) * limits.size_multiple
        return min(max(rounded, limits.min_size), limits.max_size)

    return fit(width), fit(height)


def _with(draft: Draft, sources: Sources, bad: list[Violation]) -> Draft:
    early_violations = (*draft.early_violations, *bad)
    return replace(
        draft, init_image=b"", mask=b"", sources=sources, early_violations=early_violations
    )


def _decode_both(
    picture: _Opened, mask: _Opened | None, size: tuple[int, int], bad: list[Violation]
) -> Sources:
    pixels = _try("init_image", bad, lambda: _decode(picture, size, "RGB"))
    if mask is None or pixels is None:
        return Sources(pixels)
    marked = _try("mask", bad, lambda: _decode(mask, size, "L"))
    if marked is not None and not (marked.pixels > 127).any():
        text = "It is black all over: nothing would be drawn anew. White marks what is."
        bad.append(Violation("mask", text, "EMPTY"))
    return Sources(pixels, marked)


def _open(data: bytes, limits: Limits) -> _Opened | None:
    """Read the header of a file; None if there is no file.

    Raises:
        _Refused: it is not a picture, or not one that we accept.
    """
    if not data:
        return None
    with _telling("Can't be read as a PNG, JPEG or WebP file."):
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Image.DecompressionBombError:
            text = f"At most {limits.max_picture_pixels:,} pixels."
            raise _Refused(text, "TOO_MANY_PIXELS") from None
    if image.width * image.height > limits.max_picture_pixels:
        text = f"At most {limits.max_picture_pixels:,} pixels, not {_by(*image.size)}."
        raise _Refused(text, "TOO_MANY_PIXELS")
    # A phone's JPEG may contain a second picture after the main one.
    if image.format in ("PNG", "WEBP") and getattr(image, "n_frames", 1) > 1:
        raise _Refused("It moves: send one frame of it.", "TOO_MANY_FRAMES")
    orientation = 1
    with suppress(Exception):  # unreadable EXIF
        orientation = int(image.getexif().get(ORIENTATION, 1))
    return _Opened(image, orientation, hashlib.sha256(data).hexdigest())


def _decode(opened: _Opened, size: tuple[int, int], mode: str) -> SourcePicture:
    """The picture, rotated upright, scaled to cover `size` and cropped at the centre.

    Raises:
        _Refused: the file is truncated.
    """
    with _telling("The file is broken, or cut short."):
        image = _flat(opened.image).convert(mode)
        if opened.orientation in UPRIGHT:
            image = image.transpose(UPRIGHT[opened.orientation])
        if image.size != size:
            image = ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    return SourcePicture(opened.sha256, np.array(image, np.uint8))


def _flat(image: Image.Image) -> Image.Image:
    """Convert to 8 bits per channel, on a white background if transparent."""
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype("u1"))
    if not image.has_transparency_data:
        return image
    paper = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(paper, image.convert("RGBA"))


def _try(field: str, bad: list[Violation], work: Callable[[], T]) -> T | None:
    try:
        return work()
    except _Refused as refused:
        bad.append(Violation(field, str(refused), refused.reason))
        return None


@contextmanager
def _telling(text: str) -> Iterator[None]:
    """Turn any exception of a decoder into one sentence."""
    try:
        yield
    except _Refused:
        raise
    except Exception as error:
        raise _Refused(text) from error


def _by(width: int, height: int) -> str:
    return f"{width} × {height}"
