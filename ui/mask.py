"""Masks: what of a picture is drawn anew. White is, black stays, as the service reads them."""

from __future__ import annotations

import base64
import binascii
import io

from PIL import Image, ImageOps

from ui.storage.decoding import size_of

SHOWN_SIDE = 1024  # pixels of the longer side, on the canvas
QUALITY = 85
THUMBNAIL_SIDE = 144
TINT = (52, 58, 140)
TINT_OPACITY = 0.75
WHITE_FROM = 128
MAX_DRAWN_CHARACTERS = 2 * 2**20
DATA_URL = "data:image/png;base64,"
FORMATS = ("PNG", "JPEG", "WEBP")
PROPORTION_TOLERANCE = 0.01


class BadMask(ValueError):
    """The mask can't be used; the message says why."""


def upright_size(picture: bytes) -> tuple[int, int]:
    """Width and height of an encoded picture, rotated as its EXIF says."""
    with Image.open(io.BytesIO(picture), formats=FORMATS) as image:
        return ImageOps.exif_transpose(image).size


def for_canvas(picture: bytes) -> bytes:
    """A JPEG of the picture, upright and on white, small enough to paint on."""
    return _jpeg(_opened(picture, SHOWN_SIDE))


def from_canvas(drawn: str, picture: bytes) -> bytes:
    """The mask that was painted on the picture.

    Args:
        drawn: a PNG as a data URL, as sent by the browser.
        picture: encoded.

    Raises:
        BadMask: it is no PNG, or nothing was painted.
    """
    if not drawn.startswith(DATA_URL) or len(drawn) > MAX_DRAWN_CHARACTERS:
        raise BadMask("what was painted did not arrive")
    try:
        data = base64.b64decode(drawn.removeprefix(DATA_URL), validate=True)
    except binascii.Error as error:
        raise BadMask("what was painted did not arrive") from error
    return prepared_mask(data, picture)


def prepared_mask(data: bytes, picture: bytes) -> bytes:
    """A mask's file as a PNG of the picture's size, in black and white.

    Raises:
        BadMask: its proportions differ from the picture's, or it is black all over.
        Unkeepable: it is not a picture in a supported format, or too large to decode.
    """
    size_of(data)
    width, height = upright_size(picture)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            mask = _flat(ImageOps.exif_transpose(image), "black").convert("L")
    except (OSError, SyntaxError, ValueError) as error:
        raise BadMask("the file is damaged") from error
    if abs(mask.width * height / (mask.height * width) - 1) > PROPORTION_TOLERANCE:
        raise BadMask(
            f"it is {mask.width} × {mask.height} pixels and the picture {width} × {height}: "
            "their proportions must be equal"
        )
    mask = mask.resize((width, height)).point(lambda value: 255 * (value >= WHITE_FROM))
    if mask.getbbox() is None:
        raise BadMask("nothing in it is white: white marks what is drawn anew")
    file = io.BytesIO()
    mask.convert("1").save(file, "PNG")
    return file.getvalue()


def tinted(picture: bytes, mask: bytes) -> bytes:
    """A small JPEG of the picture, with what is drawn anew in colour."""
    small = _opened(picture, THUMBNAIL_SIDE)
    with Image.open(io.BytesIO(mask), formats=FORMATS) as image:
        veil = image.convert("L").resize(small.size).point(lambda value: value * TINT_OPACITY)
    small.paste(Image.new("RGB", small.size, TINT), mask=veil)
    return _jpeg(small)


def _opened(picture: bytes, side: int) -> Image.Image:
    """The picture, upright, on white, at most `side` pixels a side."""
    with Image.open(io.BytesIO(picture), formats=FORMATS) as image:
        image.draft("RGB", (side, side))
        small = ImageOps.exif_transpose(image)
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        return _flat(small, "white")


def _flat(image: Image.Image, paper: str) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    below = Image.new("RGBA", image.size, paper)
    return Image.alpha_composite(below, image.convert("RGBA")).convert("RGB")


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
