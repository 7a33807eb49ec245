"""Draws lines of text in any script: each letter in the first font that has it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import streamlit
from PIL import ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

MEDIA = Path(streamlit.__file__).parent / "static" / "static" / "media"
BUNDLED = "SourceSansVF-Upright*.woff2"  # Streamlit's own: Latin, Greek, Cyrillic
# Of Linux, Windows and macOS, for other scripts; Pillow looks where the system keeps them.
SYSTEM = (
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "DejaVuSans.ttf",
    "wqy-microhei.ttc",
    "segoeui.ttf",
    "msyh.ttc",
    "meiryo.ttc",
    "malgun.ttf",
    "Nirmala.ttc",
    "seguisym.ttf",
    "Arial Unicode.ttf",
    "Hiragino Sans GB.ttc",
)
NO_LETTER = "\U0010fffe"  # no font has it: what is drawn for it stands for missing letters


class Letters:
    """One size of letters, in pixels. `missing`: those that no font had, and that were left out."""

    def __init__(self, size: int) -> None:
        self._fonts = fonts(size)
        self.missing: set[str] = set()

    def draw(
        self, on: ImageDraw.ImageDraw, at: tuple[int, int], text: str, fill: str, width: int
    ) -> None:
        """Draw one line from its upper left corner, cut to `width` pixels."""
        x, y = at
        for font, run in self._cut(text, width):
            on.text((x, y + self._fonts[0][0].getmetrics()[0]), run, fill, font, anchor="ls")
            x += round(font.getlength(run))

    def _cut(self, text: str, width: int) -> list[tuple[ImageFont.FreeTypeFont, str]]:
        runs = list(self._runs(text))
        while text and sum(font.getlength(run) for font, run in runs) > width:
            text = text.rstrip("…")[:-1].rstrip() + "…"
            runs = list(self._runs(text))
        return runs

    def _runs(self, text: str) -> Iterator[tuple[ImageFont.FreeTypeFont, str]]:
        """The text in pieces of one font each."""
        now, run = self._fonts[0][0], ""
        for letter in unicodedata.normalize("NFC", text):
            if run and unicodedata.combining(letter):
                run += letter
                continue
            font = self._font_of(letter)
            if font is None:
                self.missing.add(letter)
                continue
            if font is not now and run:
                yield now, run
                run = ""
            now, run = font, run + letter
        if run:
            yield now, run

    def _font_of(self, letter: str) -> ImageFont.FreeTypeFont | None:
        if letter.isspace():
            return self._fonts[0][0]
        drawn = (font for font, blank in self._fonts if bytes(font.getmask(letter)) != blank)
        return next(drawn, None)


@cache
def fonts(size: int) -> list[tuple[ImageFont.FreeTypeFont, bytes]]:
    """The fonts of this machine, each with what it draws for a letter that it lacks."""
    found = []
    for name in (*map(str, sorted(MEDIA.glob(BUNDLED))[:1]), *SYSTEM):
        try:
            font = ImageFont.truetype(name, size)
        except OSError:
            continue
        found.append((font, bytes(font.getmask(NO_LETTER))))
    if not found:
        font = ImageFont.load_default(size)  # type: ignore[assignment]
        found.append((font, bytes(font.getmask(NO_LETTER))))
    return found
