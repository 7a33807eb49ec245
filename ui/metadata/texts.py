"""Carries the settings in a picture's file over to another file."""

from __future__ import annotations

import io

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ui.metadata.container import file_texts
from ui.metadata.exif import OURS

NAMES = (OURS, "parameters")


def with_texts_of(source: bytes, png: bytes) -> bytes:
    """The PNG with the settings that `source`, a PNG or another picture, carries."""
    texts = file_texts(source)
    info = PngInfo()
    for name in NAMES:
        if name in texts:
            info.add_itxt(name, texts[name])
    file = io.BytesIO()
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        picture.save(file, "PNG", pnginfo=info)
    return file.getvalue()
