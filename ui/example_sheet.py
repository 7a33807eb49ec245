"""A model's example pictures in one file: one request instead of two dozen."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache

from PIL import Image

SIDE = 192  # pixels, of one picture
EDGE = 4  # pixels around it in its own colours, so that no neighbour shows at the seam
CELL = SIDE + 2 * EDGE


@lru_cache(maxsize=4)
def sheet(pictures: tuple[bytes, ...]) -> bytes:
    """The pictures side by side, as WebP.

    Raises:
        OSError: one of them can't be decoded.
    """
    row = Image.new("RGB", (len(pictures) * CELL, CELL))
    for number, data in enumerate(pictures):
        with Image.open(io.BytesIO(data), formats=("WEBP",)) as opened:
            picture = opened.convert("RGB")
        row.paste(picture.resize((CELL, CELL)), (number * CELL, 0))
        row.paste(picture.resize((SIDE, SIDE)), (number * CELL + EDGE, EDGE))
    file = io.BytesIO()
    row.save(file, "WEBP", quality=82)
    return file.getvalue()


def place(number: int, pictures: Sequence[object]) -> str:
    """CSS that shows one of the sheet's pictures as the background of a square."""
    width = len(pictures) * CELL
    left = (number * CELL + EDGE) / (width - SIDE)
    return (
        f"background-size:{100 * width / SIDE:.4f}% {100 * CELL / SIDE:.4f}%;"
        f"background-position:{100 * left:.4f}% 50%"
    )
