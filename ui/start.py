"""A picture to start from, small enough to send."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

from PIL import Image, ImageOps

from ui.storage.decoding import mime_type_of, size_of

MAX_BYTES = 3 * 2**20  # the service takes about 4 MB
MAX_SIDE = 2048  # pixels
QUALITY = 95


@dataclass(frozen=True, slots=True)
class Start:
    """An encoded picture, and how far to depart from it: above 0, to 1.

    `mask`: what of it is drawn anew; None: all.
    """

    data: bytes = field(repr=False)
    strength: float
    mask: bytes | None = field(default=None, repr=False)


def prepared(data: bytes) -> bytes:
    """The file itself, or a smaller JPEG of it if it is too large to send.

    Raises:
        Unkeepable: it is not a picture in a supported format, or it is too large to decode.
    """
    mime_type_of(data)
    if len(data) <= MAX_BYTES and max(size_of(data)) <= MAX_SIDE:
        return data
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
        picture.draft("RGB", (MAX_SIDE, MAX_SIDE))
        small = ImageOps.exif_transpose(picture)
        small.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    paper = Image.new("RGBA", small.size, "white")
    flat = Image.alpha_composite(paper, small.convert("RGBA")).convert("RGB")
    file = io.BytesIO()
    flat.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
