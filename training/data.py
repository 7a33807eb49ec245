"""The pictures: Fluent Emoji 3D renderings, put on coloured backgrounds and into colours.

| package | what we take | licence |
| --- | --- | --- |
| `@lobehub/fluent-emoji-3d` | 256 x 256 RGBA renderings of Microsoft's Fluent Emoji | MIT |
| `emojibase-data` | the label of each emoji | MIT |
| `emojilib` | keywords of each emoji | MIT |
"""

import hashlib
import json
import random
import subprocess
import tarfile
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from training import paths

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

LUMA: Floats = np.asarray([0.299, 0.587, 0.114], np.float32)
"""How much red, green and blue count for lightness: ITU-R BT.601."""
SIZE = 128
"""Width and height of a picture in pixels."""
LARGE, SMALL = 112, 80
"""Sides of an object in pixels; both centre on the same fraction of a 16-pixel latent cell."""
FULL = 152
"""Side in pixels of a landscape that fills the picture, so that its round corners fall outside."""
SMALL_OFFSETS = (8, 24, 40)
"""Corners of a small object in pixels, one latent cell apart: a move is an exact latent move."""
ALPHA_SHOWN = 8
"""Alpha (of 255) from which a pixel counts as part of the object."""

PACKAGES = {
    "@lobehub/fluent-emoji-3d@1.1.0": "lobehub-fluent-emoji-3d-1.1.0.tgz",
    "emojibase-data@17.0.0": "emojibase-data-17.0.0.tgz",
    "emojilib@4.0.3": "emojilib-4.0.3.tgz",
}

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (250, 250, 250),
    "black": (24, 24, 28),
    "gray": (150, 152, 158),
    "red": (214, 48, 49),
    "orange": (243, 146, 55),
    "yellow": (252, 221, 90),
    "green": (88, 180, 92),
    "teal": (38, 166, 154),
    "blue": (66, 125, 230),
    "purple": (136, 84, 208),
    "pink": (246, 160, 200),
    "brown": (130, 88, 62),
}
TINTS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 45),
    "orange": (245, 135, 30),
    "yellow": (250, 210, 50),
    "green": (60, 175, 75),
    "blue": (45, 110, 235),
    "purple": (140, 70, 215),
    "pink": (245, 130, 185),
    "brown": (130, 80, 50),
    "black": (40, 40, 46),
    "white": (236, 236, 240),
    "gray": (140, 142, 150),
}
TINTED, SHRUNK, MIRRORED = 0.5, 0.12, 0.25
"""Shares of the scenes with an object in another colour, with a small one, with a mirrored one."""
HELD_OUT = 0.08
"""Share of the pairs of thing and colour that training never sees."""


@dataclass(frozen=True)
class Thing:
    """One thing that can be drawn."""

    label: str
    aliases: tuple[str, ...]
    keywords: tuple[str, ...]
    mirrors: bool
    fills: bool
    file: str


@dataclass(frozen=True)
class Scene:
    """One picture, described: which thing, where, and in which colours."""

    thing: int
    background: str = "white"
    tint: str | None = None
    side: int = LARGE
    x: int = (SIZE - LARGE) // 2
    y: int = (SIZE - LARGE) // 2
    mirrored: bool = False


def is_held_out(label: str, colour: str, part: str) -> bool:
    """Whether training must not see this thing with this colour; `part`: background or object."""
    digest = hashlib.sha256(f"{label}|{colour}|{part}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32 < HELD_OUT


def may_train(thing: Thing, scene: Scene) -> bool:
    if is_held_out(thing.label, scene.background, "background"):
        return False
    return scene.tint is None or not is_held_out(thing.label, scene.tint, "object")


def centred(index: int, side: int = LARGE) -> Scene:
    """A thing in its own colours in the middle of a white picture."""
    return Scene(index, side=side, x=(SIZE - side) // 2, y=(SIZE - side) // 2)


def random_scene(index: int, thing: Thing, rng: random.Random) -> Scene:
    """A scene of one thing, over everything that training varies."""
    mirrored = thing.mirrors and rng.random() < MIRRORED
    if thing.fills and rng.random() < 0.75:
        return replace(centred(index, FULL), mirrored=mirrored)
    background = "white" if rng.random() < 0.25 else rng.choice(list(BACKGROUNDS))
    tint = rng.choice([t for t in TINTS if t != background]) if rng.random() < TINTED else None
    if rng.random() >= SHRUNK:
        return Scene(index, background, tint, mirrored=mirrored)
    x, y = rng.choice(SMALL_OFFSETS), rng.choice(SMALL_OFFSETS)
    return Scene(index, background, tint, SMALL, x, y, mirrored)


def training_scene(index: int, things: list[Thing], rng: random.Random) -> Scene:
    while True:
        scene = random_scene(index, things[index], rng)
        if may_train(things[index], scene):
            return scene


def download() -> Path:
    """Fetch the packages into the cache and unpack what is needed; does nothing the second time."""
    folder = paths.cache() / "packages"
    folder.mkdir(exist_ok=True)
    for name, archive in PACKAGES.items():
        unpacked = folder / archive.removesuffix(".tgz")
        if unpacked.exists():
            continue
        subprocess.run(["npm", "pack", "--silent", name], cwd=folder, check=True)
        with tarfile.open(folder / archive) as tar:
            tar.extractall(unpacked, filter="data")
    return folder


def _plain(codepoints: str) -> str:
    """An emoji's code points without the variation selector, which the packages use differently."""
    return codepoints.lower().replace("-fe0f", "")


def _words(keyword: str) -> str:
    return keyword.replace("_", " ").replace("’", "'").lower().strip()


def _read_line(line: str) -> tuple[str, tuple[str, ...]]:
    name, _, rest = line.partition("|")
    aliases = tuple(word.strip() for word in rest.split(",") if word.strip())
    return name.lstrip("=+").strip(), aliases


def read_things(packages: Path) -> list[Thing]:
    """The things of things.txt, each with its picture's path and its keywords."""
    pictures = packages / "lobehub-fluent-emoji-3d-1.1.0" / "package" / "assets"
    files = {_plain(file.stem): str(file) for file in pictures.glob("*.webp")}
    base = packages / "emojibase-data-17.0.0" / "package" / "en" / "data.json"
    entries: dict[str, Any] = {entry["label"]: entry for entry in json.loads(base.read_text())}
    lib = packages / "emojilib-4.0.3" / "package" / "dist" / "emoji-en-US.json"
    keywords: dict[str, list[str]] = json.loads(lib.read_text())
    things = []
    for line in paths.THINGS.read_text().splitlines():
        if "|" not in line or line.startswith("#"):
            continue
        label, aliases = _read_line(line)
        entry = entries[label]
        words = [*keywords.get(entry["emoji"], []), *entry.get("tags", [])]
        kept = tuple(dict.fromkeys(_words(word) for word in words))
        file = files[_plain(entry["hexcode"])]
        things.append(Thing(label, aliases, kept, line[0] != "=", line[0] == "+", file))
    return things


def _premultiplied(image: Image.Image, side: int) -> Pixels:
    """The picture scaled to `side`, as premultiplied RGBA."""
    rgba = np.asarray(image.convert("RGBA"), np.float32)
    rgba[..., :3] *= rgba[..., 3:] / 255
    pixels = Image.fromarray(rgba.round().astype(np.uint8), "RGBA")
    # Image.resize premultiplies RGBA itself; as four plain channels it must not.
    bands = [band.resize((side, side), Image.Resampling.LANCZOS) for band in pixels.split()]
    stacked: Pixels = np.stack([np.asarray(band) for band in bands], axis=-1)
    return stacked


def _trimmed(image: Image.Image) -> Image.Image:
    """The object cut out of its margins, centred in a square."""
    image = image.convert("RGBA")
    box = image.getchannel("A").point(lambda a: 255 * (a >= ALPHA_SHOWN)).getbbox()
    cut = image.crop(box)
    side = max(cut.size)
    square = Image.new("RGBA", (side, side))
    square.paste(cut, ((side - cut.width) // 2, (side - cut.height) // 2))
    return square


def tinted(luminance: Floats, target: tuple[int, int, int]) -> Floats:
    """Shades (h, w, 3), 0 to 255, of one colour with the lights and darks given.

    `luminance`: (h, w), 0 to 1, already centred on 0.5 over the object.
    """
    middle = np.asarray(target, np.float32)
    dark, light = middle * 0.3, middle + (255 - middle) * 0.75
    below = np.clip(luminance * 2, 0, 1)[..., None]
    above = np.clip(luminance * 2 - 1, 0, 1)[..., None]
    shades: Floats = dark + (middle - dark) * below + (light - middle) * above
    return shades


class Sprites:
    """The objects in the two sides that scenes use, ready to be put on a background."""

    def __init__(self, things: list[Thing]) -> None:
        self.things = things
        self._sprites = {
            (index, side): self._load(thing.file, side)
            for index, thing in enumerate(things)
            for side in ((LARGE, SMALL, FULL) if thing.fills else (LARGE, SMALL))
        }

    @staticmethod
    def _load(file: str, side: int) -> Pixels:
        with Image.open(BytesIO(Path(file).read_bytes())) as image:
            return _premultiplied(_trimmed(image), side)

    @cached_property
    def _mean_luminance(self) -> list[float]:
        return [self._measure(self._sprites[i, LARGE]) for i in range(len(self.things))]

    @staticmethod
    def _measure(sprite: Pixels) -> float:
        return float((sprite[..., :3] @ LUMA).sum() / max(1, int(sprite[..., 3].sum())))

    def _object(self, scene: Scene) -> tuple[Floats, Floats]:
        """Premultiplied colour (side, side, 3) and alpha (side, side, 1), 0 to 255 and 0 to 1."""
        pixels: Floats = self._sprites[scene.thing, scene.side].astype(np.float32)
        if scene.side > SIZE:
            pixels = pixels[-scene.y : SIZE - scene.y, -scene.x : SIZE - scene.x]
        colour: Floats = pixels[..., :3]
        alpha: Floats = pixels[..., 3:] / np.float32(255)
        if scene.tint is not None:
            straight = colour @ LUMA / np.maximum(alpha[..., 0] * 255, 1)
            level = 0.5 + 0.85 * (straight - self._mean_luminance[scene.thing])
            colour = tinted(level.astype(np.float32), TINTS[scene.tint]) * alpha
        if scene.mirrored:
            colour, alpha = colour[:, ::-1], alpha[:, ::-1]
        return colour, alpha

    def render(self, scene: Scene) -> Pixels:
        """The picture, (128, 128, 3)."""
        canvas = np.empty((SIZE, SIZE, 3), np.float32)
        canvas[:] = BACKGROUNDS[scene.background]
        colour, alpha = self._object(scene)
        rows = slice(max(0, scene.y), max(0, scene.y) + len(alpha))
        columns = slice(max(0, scene.x), max(0, scene.x) + len(alpha))
        canvas[rows, columns] = canvas[rows, columns] * (1 - alpha) + colour
        picture: Pixels = canvas.clip(0, 255).round().astype(np.uint8)
        return picture


def contact_sheet(pictures: list[Pixels], columns: int) -> Image.Image:
    """Pictures of one size, row by row, in one image."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), (255, 255, 255))
    for i, picture in enumerate(pictures):
        sheet.paste(Image.fromarray(picture), (i % columns * width, i // columns * height))
    return sheet
