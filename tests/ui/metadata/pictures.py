"""Small picture files that carry texts in every way that programs write them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"
BYTE, ASCII, SHORT, LONG, UNDEFINED, DOUBLE = 1, 2, 3, 4, 7, 12  # TIFF 6.0, page 15
SIZES = {BYTE: 1, ASCII: 1, SHORT: 2, LONG: 4, UNDEFINED: 1, DOUBLE: 8}


def png(
    *chunks: tuple[bytes, bytes],
    behind: Sequence[tuple[bytes, bytes]] = (),
    size: tuple[int, int] = (1, 1),
    pixels: bytes | None = None,
) -> bytes:
    """A black PNG with chunks before its pixels, and others behind them."""
    width, height = size
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    if pixels is None:
        pixels = zlib.compress(bytes((width + 1) * height))
    every = [(b"IHDR", header), *chunks, (b"IDAT", pixels), *behind, (b"IEND", b"")]
    return PNG + b"".join(_chunk(kind, body) for kind, body in every)


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + checksum


def text(name: str, value: str | bytes) -> tuple[bytes, bytes]:
    """A tEXt chunk; a `str` in Latin-1, as the standard says."""
    raw = value if isinstance(value, bytes) else value.encode("latin-1")
    return b"tEXt", name.encode() + b"\0" + raw


def packed(name: str, value: bytes) -> tuple[bytes, bytes]:
    """A zTXt chunk."""
    return b"zTXt", name.encode() + b"\0\0" + zlib.compress(value, 9)


def international(name: str, value: str, *, compress: bool = False) -> tuple[bytes, bytes]:
    """An iTXt chunk."""
    raw = zlib.compress(value.encode()) if compress else value.encode()
    return b"iTXt", name.encode() + b"\0" + bytes([compress, 0]) + b"\0\0" + raw


def exif(
    values: bytes,
    kind: int = UNDEFINED,
    *,
    order: str = ">",
    tag: int = 0x9286,
    count: int | None = None,
) -> bytes:
    """A block of EXIF with one tag of the Exif folder, the user comment by default."""
    mark = b"MM" if order == ">" else b"II"
    number = len(values) // SIZES[kind] if count is None else count
    start = mark + struct.pack(order + "HI", 42, 8)
    main = struct.pack(order + "HHHII", 1, 0x8769, LONG, 1, 26) + struct.pack(order + "I", 0)
    inline = len(values) <= 4
    place = values.ljust(4, b"\0") if inline else struct.pack(order + "I", 44)
    folder = struct.pack(order + "HHHI", 1, tag, kind, number) + place + b"\0" * 4
    return start + main + folder + (b"" if inline else values)


def jpeg(block: bytes | None = None, *, comment: bytes = b"") -> bytes:
    """A JPEG with a block of EXIF, and a comment."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "JPEG")
    segments = b""
    if block is not None:
        segments += b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block
    if comment:
        segments += b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment
    return file.getvalue()[:2] + segments + file.getvalue()[2:]


def webp(block: bytes) -> bytes:
    """A WebP with a block of EXIF."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "WEBP", exif=block)
    return file.getvalue()
