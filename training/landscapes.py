"""Draws backgrounds with sky and ground from a few shapes."""

from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from training.pictures import Pixels
from training.scenes import Colour

OVERSAMPLED = 2
HORIZON = 0.62
"""Where sky and ground meet, from the top."""
SKIES: dict[str, tuple[Colour, Colour]] = {
    "meadow": ((96, 174, 245), (206, 234, 252)),
    "beach": ((90, 178, 240), (214, 238, 250)),
    "desert": ((247, 190, 110), (253, 232, 190)),
    "snow": ((170, 200, 232), (232, 240, 248)),
    "mountains": ((120, 180, 235), (225, 236, 246)),
    "sunset": ((94, 60, 140), (250, 150, 70)),
    "night sky": ((14, 18, 52), (48, 54, 112)),
    "space": ((8, 8, 24), (34, 18, 60)),
}
GROUNDS: dict[str, tuple[Colour, ...]] = {
    "meadow": ((110, 190, 84), (84, 164, 70)),
    "beach": ((52, 148, 208), (244, 216, 150)),
    "desert": ((228, 170, 92), (210, 146, 72)),
    "snow": ((246, 249, 252), (222, 232, 244)),
    "mountains": ((122, 134, 158), (104, 160, 96)),
    "sunset": ((60, 40, 84), (40, 28, 62)),
    "night sky": ((24, 34, 62), (16, 24, 46)),
}
PEAKS = ((0.0, 0.62), (0.22, 0.3), (0.4, 0.52), (0.64, 0.2), (1.0, 0.62))
"""The ridge of the mountains, as shares of width and height."""


@cache
def landscape(name: str, side: int) -> Pixels:
    """The picture (side, side, 3)."""
    size = side * OVERSAMPLED
    top, bottom = (np.asarray(colour, np.float32) for colour in SKIES[name])
    share = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    sky = np.broadcast_to(top + (bottom - top) * share, (size, size, 3))
    image = Image.fromarray(sky.round().astype(np.uint8))
    pen = ImageDraw.Draw(image)
    if name in ("night sky", "space"):
        _stars(pen, size)
    if name == "sunset":
        _disc(pen, size, 0.5, HORIZON, 0.2, (255, 214, 110))
    if name == "mountains":
        ridge = [(x * size, y * size) for x, y in PEAKS]
        pen.polygon([*ridge, (size, size), (0, size)], GROUNDS[name][0])
    if name in GROUNDS:
        _ground(pen, size, name)
    pixels: Pixels = np.asarray(image.resize((side, side), Image.Resampling.BOX))
    return pixels


def _ground(pen: ImageDraw.ImageDraw, size: int, name: str) -> None:
    back, front = GROUNDS[name]
    if name == "beach":
        pen.rectangle((0, HORIZON * size, size, size), back)
        pen.ellipse((-0.3 * size, 0.74 * size, 1.3 * size, 1.6 * size), front)
        return
    if name != "mountains":
        pen.ellipse((-0.8 * size, HORIZON * size, 0.9 * size, 1.9 * size), back)
    pen.ellipse((-0.1 * size, 0.72 * size, 1.9 * size, 2.0 * size), front)
    if name == "mountains":
        pen.ellipse((-0.9 * size, 0.7 * size, 0.8 * size, 2.0 * size), front)


def _disc(
    pen: ImageDraw.ImageDraw, size: int, x: float, y: float, radius: float, colour: Colour
) -> None:
    box = ((x - radius) * size, (y - radius) * size, (x + radius) * size, (y + radius) * size)
    pen.ellipse(box, colour)


def _stars(pen: ImageDraw.ImageDraw, size: int) -> None:
    rng = np.random.default_rng(5)
    for x, y, radius in rng.random((40, 3)):
        _disc(pen, size, x, y, 0.003 + 0.006 * radius, (236, 236, 250))
