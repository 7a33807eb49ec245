"""The pages' static files, under names that contain a hash of their contents."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import streamlit

FOLDER = Path(__file__).parent / "static"
MIME_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
MARK = Path(__file__).parent.parent / "images" / "mark.svg"
FONT = "serif.woff2"  # Streamlit's own, for the wall
LINKED = re.compile(r"\{\{([\w.]+)\}\}")


@cache
def files() -> dict[str, tuple[bytes, str]]:
    """Contents and type by hashed name; {{file}} is replaced by that file's hashed name."""
    found: dict[str, tuple[bytes, str]] = {}
    names: dict[str, str] = {FONT: FONT}
    for path in _sources():
        content = path.read_bytes()
        if path.suffix in (".css", ".js"):
            content = _linked(content.decode("utf-8"), names).encode()
        name = FONT if path.suffix == ".woff2" else path.name
        stem, _, suffix = name.rpartition(".")
        names[name] = f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{suffix}"
        found[names[name]] = content, MIME_TYPES[path.suffix]
    return found


def _sources() -> list[Path]:
    """The sources, with files referenced by others first."""
    own = [path for path in FOLDER.iterdir() if path.suffix in MIME_TYPES]
    fonts = Path(streamlit.__file__).parent / "static" / "static" / "media"
    font = sorted(fonts.glob("SourceSerifVariable-Roman*.woff2"))[
        :1
    ]  # if missing, the system's font is used
    in_order = sorted(own, key=lambda p: (p.suffix != ".svg", not p.name.startswith("common"), p))
    return [*font, MARK, *in_order]


def _linked(text: str, names: Mapping[str, str]) -> str:
    return LINKED.sub(lambda match: names[match[1]], text)


@cache
def page(name: str, notice: str = "") -> str:
    """An HTML page with {{file}} replaced by the file's hashed name."""
    names = {plain(hashed): hashed for hashed in files()}
    return _linked((FOLDER / name).read_text("utf-8"), {**names, "notice": html.escape(notice)})


@cache
def version() -> str:
    """A hash over all files; open pages with another version reload themselves."""
    return hashlib.sha256("".join(sorted(files())).encode()).hexdigest()[:12]


def plain(hashed: str) -> str:
    stem, _, rest = hashed.partition(".")
    return f"{stem}.{rest.rpartition('.')[2]}"
