"""Renders the things' pictures, coloured and on a background."""

from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from training.landscapes import landscape
from training.pictures import Floats, Pixels
from training.scenes import COLOURS, FULL, GRID, LARGE, TINTS, Colour, Placed, Scene
from training.things import Thing

LUMA: Floats = np.asarray([0.299, 0.587, 0.114], np.float32)
"""How much red, green and blue count for lightness: ITU-R BT.601."""
SIZE = 256
"""Width and height of a picture in pixels."""
ALPHA_SHOWN = 8
"""Alpha (of 255) from which a pixel counts as part of the thing."""


def _premultiplied(image: Image.Image, side: int) -> Pixels:
    """The picture scaled to `side`, as premultiplied RGBA."""
    rgba = np.asarray(image.convert("RGBA"), np.float32).copy()
    rgba[..., :3] *= rgba[..., 3:] / 255
    pixels = Image.fromarray(rgba.round().astype(np.uint8), "RGBA")
    # Image.resize would premultiply RGBA a second time, so resize four plain channels.
    bands = [band.resize((side, side), Image.Resampling.LANCZOS) for band in pixels.split()]
    stacked: Pixels = np.stack([np.asarray(band) for band in bands], axis=-1)
    return stacked


def _trimmed(image: Image.Image) -> Image.Image:
    """The thing without its margins, centred in a square."""
    image = image.convert("RGBA")
    box = image.getchannel("A").point(lambda a: 255 * (a >= ALPHA_SHOWN)).getbbox()
    cut = image.crop(box)
    side = max(cut.size)
    square = Image.new("RGBA", (side, side))
    square.paste(cut, ((side - cut.width) // 2, (side - cut.height) // 2))
    return square


def tinted(luminance: Floats, target: Colour) -> Floats:
    """Shades (h, w, 3) from 0 to 255 of one colour, following the given luminance.

    `luminance`: (h, w) from 0 to 1, with mean 0.5 over the thing.
    """
    middle = np.asarray(target, np.float32)
    dark, light = middle * 0.3, middle + (255 - middle) * 0.75
    below = np.clip(luminance * 2, 0, 1)[..., None]
    above = np.clip(luminance * 2 - 1, 0, 1)[..., None]
    shades: Floats = dark + (middle - dark) * below + (light - middle) * above
    return shades


class Sprites:
    """The things' pictures for one picture size, scaled on first use."""

    def __init__(self, things: list[Thing], size: int = SIZE) -> None:
        self.things, self.size = things, size
        self._sprites: dict[tuple[int, bool, int], Pixels] = {}

    def _load(self, thing: Thing, side: int, *, flat: bool) -> Pixels:
        if flat:
            data = bytes(resvg_py.svg_to_bytes(svg_string=thing.drawing, width=256, height=256))
        else:
            data = Path(thing.file).read_bytes()
        with Image.open(BytesIO(data)) as image:
            return _premultiplied(_trimmed(image), side)

    def sprite(self, thing: int, side: int, *, flat: bool = False) -> Pixels:
        """Premultiplied RGBA (side, side, 4)."""
        key = (thing, flat, side)
        if key not in self._sprites:
            self._sprites[key] = self._load(self.things[thing], side, flat=flat)
        return self._sprites[key]

    def pixels(self, parts: float) -> int:
        """A length in units of 1/GRID of the picture, in pixels."""
        return round(parts * self.size / GRID)

    @cached_property
    def _mean_luminance(self) -> dict[tuple[int, bool], float]:
        return {}

    def _luminance(self, thing: int, *, flat: bool) -> float:
        """The mean over a thing."""
        known = self._mean_luminance
        if (thing, flat) not in known:
            sprite = self.sprite(thing, self.pixels(LARGE), flat=flat)
            total = (sprite[..., :3] @ LUMA).sum()
            known[thing, flat] = float(total / max(1, int(sprite[..., 3].sum())))
        return known[thing, flat]

    def _object(self, placed: Placed) -> tuple[Floats, Floats]:
        """Premultiplied colour (side, side, 3) and alpha (side, side, 1), 0 to 255 and 0 to 1."""
        sprite = self.sprite(placed.thing, self.pixels(placed.side), flat=placed.flat)
        pixels: Floats = sprite.astype(np.float32)
        colour: Floats = pixels[..., :3]
        alpha: Floats = pixels[..., 3:] / np.float32(255)
        if placed.tint is not None:
            straight = colour @ LUMA / np.maximum(alpha[..., 0] * 255, 1)
            level = 0.5 + 0.85 * (straight - self._luminance(placed.thing, flat=placed.flat))
            colour = tinted(level.astype(np.float32), TINTS[placed.tint]) * alpha
        if placed.mirrored:
            colour, alpha = colour[:, ::-1], alpha[:, ::-1]
        return colour, alpha

    def render(self, scene: Scene) -> Pixels:
        """The picture, (size, size, 3)."""
        canvas = self._canvas(scene.background)
        for placed in scene.things:
            self._put(canvas, placed)
        picture: Pixels = canvas.clip(0, 255).round().astype(np.uint8)
        return picture

    def _canvas(self, background: str) -> Floats:
        if background not in COLOURS:
            return landscape(background, self.size).astype(np.float32)
        canvas = np.empty((self.size, self.size, 3), np.float32)
        canvas[:] = COLOURS[background]
        return canvas

    def _put(self, canvas: Floats, placed: Placed) -> None:
        colour, alpha = self._object(placed)
        if placed.side == FULL:
            cut = slice((len(alpha) - self.size) // 2, (len(alpha) - self.size) // 2 + self.size)
            colour, alpha = colour[cut, cut], alpha[cut, cut]
        y, x = max(0, self.pixels(placed.y)), max(0, self.pixels(placed.x))
        part = canvas[y : y + len(alpha), x : x + len(alpha)]
        part *= 1 - alpha
        part += colour


def contact_sheet(pictures: list[Pixels], columns: int) -> Image.Image:
    """Pictures of one size, row by row, in one image."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), (255, 255, 255))
    for i, picture in enumerate(pictures):
        sheet.paste(Image.fromarray(picture), (i % columns * width, i // columns * height))
    return sheet
