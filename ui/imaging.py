"""Combines pictures: a grid as one sheet, and the difference of two."""

from __future__ import annotations

import io
from collections.abc import Mapping

from PIL import Image, ImageChops, ImageDraw, ImageFont, ImageStat

from ui.grid import Grid, GridError

CELL_PX = 256
LABEL_PX = 40


def sheet(grid: Grid, pictures: Mapping[int, bytes]) -> bytes:
    """The grid as one labelled PNG. `pictures` are encoded files by cell."""
    columns, rows = len(grid.x.values), len(grid.y.values)
    left = LABEL_PX * 3 if grid.y.name else 0
    size = (left + columns * CELL_PX, LABEL_PX + rows * CELL_PX)
    paper = Image.new("RGB", size, "#fbfaf7")
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(14)
    for column, value in enumerate(grid.x.values):
        place = (left + column * CELL_PX + 8, 12)
        pen.text(place, _fit(grid.x.label(value), 32), "#1b1a26", font)
    for row, value in enumerate(grid.y.values):
        place = (8, LABEL_PX + row * CELL_PX + 8)
        pen.text(place, _fit(grid.y.label(value), 14), "#1b1a26", font)
    for cell, data in pictures.items():
        row, column = divmod(cell, columns)
        corner = (left + column * CELL_PX, LABEL_PX + row * CELL_PX)
        _place(paper, data, corner)
    file = io.BytesIO()
    paper.save(file, "PNG")
    return file.getvalue()


def _place(paper: Image.Image, data: bytes, corner: tuple[int, int]) -> None:
    with Image.open(io.BytesIO(data)) as opened:
        scale = (CELL_PX - 8) / max(opened.size)
        width, height = (max(1, round(side * scale)) for side in opened.size)
        small = opened.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    paper.paste(small, corner)


def _fit(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def difference(first: bytes, second: bytes) -> tuple[bytes, float]:
    """The difference of two pictures as a PNG (brighter: larger), and its average.

    Returns:
        The PNG, and the mean absolute difference per channel, 0 to 255.

    Raises:
        GridError: their sizes differ.
    """
    with Image.open(io.BytesIO(first)) as a, Image.open(io.BytesIO(second)) as b:
        if a.size != b.size:
            raise GridError("Only pictures of the same size can be subtracted.")
        changed = ImageChops.difference(a.convert("RGB"), b.convert("RGB"))
    mean = sum(ImageStat.Stat(changed).mean) / 3
    file = io.BytesIO()
    changed.point([min(255, value * 4) for value in range(256)] * 3).save(file, "PNG")
    return file.getvalue(), mean
