"""Reads texts from PNG, JPEG and WebP files without decoding pixels, so bombs are harmless.

Pillow only reads texts that precede the pixels, has a process-wide size limit, and decodes more
than necessary. The three formats are simple lists of blocks.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from ui.metadata.exif import exif_texts
from ui.metadata.unreadable import UnreadableRecipe

MAX_TEXT_BYTES = 2**20
MAX_BLOCKS = 20_000
PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
EXIF_PREFIX = b"Exif\0\0"
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"eXIf")
# Other file types by their first bytes.
OTHER_FILES = {
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"\xff\x0a": "a JPEG XL",
    b"\0\0\0\x0cJXL ": "a JPEG XL",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP archive",
    b"<svg": "an SVG",
    b"<?xml": "an XML file",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}
BRANDS = {b"avif": "an AVIF", b"avis": "an AVIF", b"heic": "a HEIC", b"mif1": "a HEIC"}


def file_texts(data: bytes) -> dict[str, str]:
    """The texts of a picture file by name; those in EXIF have EXIF's names.

    Raises:
        UnreadableRecipe: the file has none of the three formats.
    """
    if data.startswith(PNG):
        return _png_texts(data)
    if data.startswith(JPEG):
        return _jpeg_texts(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_texts(data)
    raise UnreadableRecipe(f"{_name(data)}: settings are read from PNG, JPEG and WebP pictures.")


def _name(data: bytes) -> str:
    if not data:
        return "This file is empty"
    if data[4:8] == b"ftyp" and data[8:12] in BRANDS:
        return f"This is {BRANDS[data[8:12]]} file"
    for start, name in OTHER_FILES.items():
        if data.startswith(start):
            return f"This is {name}"
    return "This is not a picture that can be read"


def _png_texts(data: bytes) -> dict[str, str]:
    """All text chunks (PNG specification, 11.3.3), and the texts of the eXIf chunk."""
    texts: dict[str, str] = {}
    for kind, start, end in _png_chunks(data):
        body = data[start + 8 : end - 4] if kind in TEXT_CHUNKS else b""
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            name, _, rest = body.partition(b"\0")
            key = name.decode("latin-1")
            text = _png_text(kind, rest)
            if text:
                texts.setdefault(key, text)
        elif kind == b"eXIf":
            texts |= exif_texts(body)
    return texts


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of every chunk. A chunk is length, kind, body, checksum."""
    start = len(PNG)
    for _ in range(MAX_BLOCKS):
        length, kind = data[start : start + 4], data[start + 4 : start + 8]
        if len(kind) < 4:
            return
        end = start + 8 + int.from_bytes(length, "big") + 4
        yield kind, start, end
        if kind == b"IEND":
            return
        start = end


def _png_text(kind: bytes, rest: bytes) -> str:
    if kind == b"zTXt":
        return _decoded(_inflated(rest[1:]))
    if kind == b"iTXt":
        is_compressed = rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]  # language, translated name
        return _decoded(_inflated(rest) if is_compressed else rest)
    return _decoded(rest)


def _decoded(text: bytes) -> str:
    """Decode UTF-8 or Latin-1: the standard of tEXt and zTXt, where several programs write UTF-8.

    Empty if it is longer than any settings, such as profiles and bombs.
    """
    if len(text) > MAX_TEXT_BYTES:
        return ""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _inflated(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, MAX_TEXT_BYTES + 1)
    except zlib.error:
        return b""


def _jpeg_texts(data: bytes) -> dict[str, str]:
    """Application segments and comment, up to the pixels (ITU T.81, annex B)."""
    texts: dict[str, str] = {}
    position = 2
    for _ in range(MAX_BLOCKS):
        if data[position : position + 1] != b"\xff":
            break
        marker = data[position + 1 : position + 2]
        if marker == b"\xff":  # a fill byte
            position += 1
            continue
        if marker in (b"\xda", b"\xd9", b""):  # pixels, or the end
            break
        start = position + 4
        length = int.from_bytes(data[position + 2 : start], "big")
        position += 2 + max(length, 2)
        body = data[start:position]
        if marker == b"\xe1" and body.startswith(EXIF_PREFIX):
            texts = exif_texts(body.removeprefix(EXIF_PREFIX)) | texts
        elif marker == b"\xe1" and body.startswith(XMP_PREFIX):
            texts.setdefault("XMP", _decoded(body.removeprefix(XMP_PREFIX)))
        elif marker == b"\xfe":
            texts.setdefault("Comment", _decoded(body))
    return texts


def _webp_texts(data: bytes) -> dict[str, str]:
    """The EXIF and XMP chunks of a RIFF file."""
    texts: dict[str, str] = {}
    position = 12
    for _ in range(MAX_BLOCKS):
        kind, length = data[position : position + 4], data[position + 4 : position + 8]
        if len(length) < 4:
            break
        start = position + 8
        end = start + int.from_bytes(length, "little")
        position = end + (end - start) % 2
        if kind == b"EXIF":
            texts = exif_texts(data[start:end].removeprefix(EXIF_PREFIX)) | texts
        elif kind == b"XMP ":
            texts.setdefault("XMP", _decoded(data[start:end]))
    return texts
