"""Reads infotext from an image and parses it like A1111 does.

Prompt lines, lines from `Negative prompt:` on, a last line of `Name: value` pairs.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator

from PIL import Image

from backend.exif import EXIF_FOLDER, UNICODE, USER_COMMENT
from backend.transport.http.problem import Json

NEGATIVE = "Negative prompt:"
MIN_PAIRS = 3  # in a last line that is one of settings, as A1111 counts
MAX_CHARACTERS = 64 * 1024
MAX_PAIRS = 200
NAME = re.compile(r"\s*([\w][\w \-/]{0,60}):\s*")
SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")
ENCODING_BYTES = len(UNICODE)


def read_infotext(data: bytes) -> str:
    """The infotext in an image file; "" if there is none."""
    with Image.open(io.BytesIO(data)) as image:
        return infotext_of(image)


def infotext_of(image: Image.Image) -> str:
    """The PNG text chunk `parameters`, else the EXIF user comment."""
    text = image.info.get("parameters")
    if isinstance(text, str):
        return text[:MAX_CHARACTERS]
    comment = image.getexif().get_ifd(EXIF_FOLDER).get(USER_COMMENT)
    if isinstance(comment, bytes) and comment.startswith(UNICODE):
        return comment[ENCODING_BYTES:].decode("utf-16-be", "replace")[:MAX_CHARACTERS]
    if isinstance(comment, bytes):
        return comment[ENCODING_BYTES:].decode("utf-8", "replace")[:MAX_CHARACTERS]
    return ""


def parse(text: str) -> Json:
    """A1111's `parameters`: every name with its value as text, sizes split in two."""
    lines = text.strip().split("\n")
    found = dict(_pairs(lines[-1]))
    if len(found) < MIN_PAIRS:
        found = {}
    else:
        lines.pop()
    prompt, negative = _prompts(lines)
    parameters: Json = {"Prompt": prompt, "Negative prompt": negative}
    for name, value in found.items():
        if size := SIZE.fullmatch(value):
            parameters |= {f"{name}-1": size[1], f"{name}-2": size[2]}
        else:
            parameters[name] = value
    return parameters


def _prompts(lines: list[str]) -> tuple[str, str]:
    for number, line in enumerate(lines):
        if line.startswith(NEGATIVE):
            negative = [line.removeprefix(NEGATIVE).strip(), *lines[number + 1 :]]
            return "\n".join(lines[:number]).strip(), "\n".join(negative).strip()
    return "\n".join(lines).strip(), ""


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    """A single linear scan, since the text is untrusted."""
    position = 0
    for _ in range(MAX_PAIRS):
        name = NAME.match(line, position)
        if name is None:
            return
        value, position = _value(line, name.end())
        yield name[1].strip(), value


def _value(line: str, start: int) -> tuple[str, int]:
    """The value at `start` (quoted as in JSON if it has a comma), and the next pair's position."""
    if line.startswith('"', start):
        try:
            value, end = json.JSONDecoder().raw_decode(line, start)
        except ValueError:
            pass
        else:
            comma = line.find(",", end)
            return str(value), len(line) if comma < 0 else comma + 1
    comma = line.find(",", start)
    end = len(line) if comma < 0 else comma
    return line[start:end].strip(), end + 1
