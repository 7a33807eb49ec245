"""Small pieces of HTML. All texts of people or services must pass `escape`."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable

from ui.storage.picture import Picture

ESCAPES = {ord(sign): f"\\{sign}" for sign in "\\`*_{}[]<>()#+-!|$:~.=&@"}
# Streamlit replaces these after parsing Markdown, when escapes are gone: arrows and dashes between
# spaces, names of icons and emoji between colons, URLs.
REPLACED = re.compile(
    r"(?<!\S)(?=(?:<?->|<-|--|[<>~]=)(?!\S))"
    r"|(?<=:)(?=[\w+-]|//)"
    r"|(?<=www)(?=\.)|(?=@)"
)
JOINER = "\u2060"  # WORD JOINER: has no width and allows no line break
LORA = re.compile(r"<lora:\s*([^:<>]+?)\s*(?::\s*([-+.\d]+)[^<>]*)?>")
LEADING_SPACE = re.compile(r"^[ \t]+", re.MULTILINE)


def escape(text: object) -> str:
    """Escape text for HTML content and quoted attributes."""
    return html.escape(str(text), quote=True)


def plain(text: object) -> str:
    """Escape text so that Streamlit's Markdown shows it unchanged."""
    whole = LEADING_SPACE.sub("", str(text))  # four spaces would start a code block
    return REPLACED.sub(JOINER, whole).translate(ESCAPES)


def picture(src: str, alt: str, width: int, height: int, extra: str = "") -> str:
    """An image whose space is reserved while it loads. Sizes in pixels."""
    return (
        f'<img class="ink-picture {extra}" src="{escape(src)}" alt="{escape(alt)}" '
        f'width="{width}" height="{height}" decoding="async">'
    )


def thumbnail(src: str, width: int, height: int) -> str:
    """A thumbnail without alternative text: the button over it is labelled."""
    return (
        f'<img class="ink-thumb" src="{escape(src)}" alt="" width="{width}" height="{height}" '
        'loading="lazy" decoding="async">'
    )


def part_of(src: str, place: str) -> str:
    """A square thumbnail out of a larger file; `place` is CSS as of `ui.example_sheet`."""
    return f'<div class="ink-thumb" style="background-image:url({escape(src)});{place}"></div>'


def mat(inner: str, width: int, height: int) -> str:
    """A picture with a mat around it, as large as fits. Sizes in pixels."""
    return f'<figure class="ink-mat" style="--w:{width};--h:{height}">{inner}</figure>'


def data_address(data: bytes, mime_type: str = "image/jpeg") -> str:
    """A small picture as a data URL."""
    return f"data:{mime_type};base64,{base64.b64encode(data).decode()}"


def empty(title: str, text: str, mark: bool = True) -> str:
    """An empty state that says what will appear there."""
    drop = MARK if mark else ""
    return f'<div class="ink-empty">{drop}<h2>{escape(title)}</h2><p>{escape(text)}</p></div>'


def announce(text: str) -> str:
    """A line for screen readers only."""
    return f'<p class="ink-quiet" role="status">{escape(text)}</p>'


def chip(colour: str, text: str, hint: str = "") -> str:
    """The service's state as a coloured dot and text, so that it doesn't depend on colour."""
    return (
        f'<span class="ink-chip ink-{colour}" title="{escape(hint)}">'
        f'<i aria-hidden="true"></i>{escape(text)}</span>'
    )


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """A list of names and values."""
    rows = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in pairs)
    return f'<dl class="ink-facts">{rows}</dl>'


def parameters(picture: Picture) -> list[tuple[str, object]]:
    """How a picture was drawn, for `facts`; what is as usual is left out."""
    loras = ", ".join(f"{name} {weight or 1}" for name, weight in LORA.findall(picture.prompt))
    pairs: dict[str, object] = {
        "Size": f"{picture.width} × {picture.height}",
        "Seed": picture.seed,
        "Steps": picture.steps,
        "Guidance": f"{picture.guidance:g}",
        "Noise scheduler": picture.scheduler,
        "Model": picture.model,
        "LoRAs": loras,
        "Clip skip": picture.clip_skip if picture.clip_skip > 1 else "",
        "Over a picture": "" if picture.strength is None else f"strength {picture.strength:g}",
        "Enlarged": _enlarged(picture),
    }
    return [(name, value) for name, value in pairs.items() if value != ""]


def _enlarged(picture: Picture) -> str:
    if picture.upscale == 1:
        return ""
    if not picture.upscale_strength:
        return f"{picture.upscale:g}× by Lanczos"
    return f"{picture.upscale:g}×, drawn again at strength {picture.upscale_strength:g}"


def seconds(milliseconds: float) -> str:
    """A readable duration: 0.8 s, 12 s, 2 min 5 s, 3 h 10 min."""
    total = milliseconds / 1000
    if total < 9.95:
        return f"{total:.1f} s"
    if total < 90:
        return f"{total:.0f} s"
    minutes, rest = divmod(round(total), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"


def size(num_bytes: float) -> str:
    """A readable amount of memory: 512 kB, 3.4 MB, 12 GB."""
    for unit, scale in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.{1 if num_bytes < 10 * scale else 0}f} {unit}"
    return f"{num_bytes:.0f} bytes"


# The studio's mark; style.css draws it (Streamlit takes SVG out of HTML).
MARK = '<span class="ink-mark" aria-hidden="true"></span>'
