"""Reads texts from an EXIF block, in every encoding that occurs in practice."""

from __future__ import annotations

from typing import Any

from PIL import ExifTags, Image

USER_COMMENT = "UserComment"
OURS = "text2image"  # the exact settings as JSON, in PNG a chunk of this name
NOTE_PREFIX = b"text2image\0"  # in front of them in the maker note
MAX_EXIF_BYTES = 2**20
# EXIF 2.3, section 4.6.5: the first eight bytes of a comment name its encoding.
UNICODE, ASCII, JIS, UNDEFINED = b"UNICODE\0", b"ASCII\0\0\0", b"JIS\0\0\0\0\0", b"\0" * 8
CONTROLS = bytes(range(32))
# Tags of the main IFD that programs write settings into.
NAMES = {
    ExifTags.Base.ImageDescription: "ImageDescription",
    ExifTags.Base.Make: "Make",
    ExifTags.Base.Model: "Model",
    ExifTags.Base.Software: "Software",
}


def exif_texts(block: bytes) -> dict[str, str]:
    """The texts of a block (without the prefix `Exif`) by their EXIF names."""
    exif: Any = Image.Exif()
    try:
        exif.load(block[:MAX_EXIF_BYTES])
        values = {name: exif.get(tag) for tag, name in NAMES.items()}
        folder = exif.get_ifd(ExifTags.IFD.Exif)
        values[USER_COMMENT] = folder.get(ExifTags.Base.UserComment)
        note = folder.get(ExifTags.Base.MakerNote)
    except Exception:  # readers fail in many ways on a broken block
        return {}
    texts = {name: _text(value) for name, value in values.items()}
    if isinstance(note, bytes) and note.startswith(NOTE_PREFIX):
        texts[OURS] = _plain(note.removeprefix(NOTE_PREFIX))
    return {name: text for name, text in texts.items() if text}


def _text(value: object) -> str:
    """A tag's value as text; "" for numbers, which malicious files may contain."""
    if isinstance(value, str):  # ASCII by its type, which Pillow reads as Latin-1
        value = value.encode("latin-1", errors="replace")
    return decode_comment(value) if isinstance(value, bytes) else ""


def decode_comment(comment: bytes) -> str:
    """Decode a user comment, even if its named encoding is wrong."""
    name, body = comment[:8].upper(), comment[8:]
    if name == UNICODE:
        text = _likeliest(body)
    elif name == JIS:
        text = body.decode("iso2022_jp", errors="replace")
    elif name in (ASCII, UNDEFINED):
        text = _plain(body)
    else:
        text = _plain(comment)
    return text.replace("\0", "").removeprefix("\ufeff")


def _plain(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("latin-1")


def _likeliest(body: bytes) -> str:
    """Decode as UTF-16 of either byte order (the standard names none) or as UTF-8.

    Settings' names are ASCII, so the decoding with the most ASCII letters is the right one.
    """
    readings = [
        body.decode(encoding, errors="replace") for encoding in ("utf-16-be", "utf-16-le", "utf-8")
    ]
    return max(readings, key=_likelihood)


def _likelihood(text: str) -> int:
    letters = len(text.encode("ascii", errors="ignore").translate(None, delete=CONTROLS))
    return letters - 2 * (text.count("\0") + text.count("\ufffd"))
