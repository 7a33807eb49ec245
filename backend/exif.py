"""Writes an EXIF block with an image's texts, in the standard's types.

Pillow writes the user comment with TIFF type BYTE, which programs built on piexif don't read. The
two directories (IFDs) we need are short: TIFF 6.0 section 2, EXIF 2.3 section 4.6.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

PREFIX = b"Exif\0\0"  # precedes the block in JPEG files and in Pillow's `exif` argument
UNICODE = b"UNICODE\0"  # names the encoding of the user comment: UTF-16 in the block's byte order
ASCII, LONG, UNDEFINED = 2, 4, 7  # TIFF types
SOFTWARE, EXIF_FOLDER = 0x0131, 0x8769
EXIF_VERSION, MAKER_NOTE, USER_COMMENT = 0x9000, 0x927C, 0x9286
HEADER = b"MM\0\x2a\0\0\0\x08"  # big-endian; the first IFD follows directly

Entries = Mapping[int, tuple[int, bytes]]  # tag: (TIFF type, value)


def exif_block(comment: str, note: bytes, software: str) -> bytes:
    """The EXIF block with its prefix.

    Args:
        comment: the user comment.
        note: the maker note, a vendor's private data.
        software: ASCII.
    """
    main = {SOFTWARE: (ASCII, software.encode("ascii") + b"\0"), EXIF_FOLDER: (LONG, b"\0" * 4)}
    start = len(HEADER) + len(_folder(main, 0))
    main[EXIF_FOLDER] = (LONG, struct.pack(">I", start))
    inner = {
        EXIF_VERSION: (UNDEFINED, b"0232"),
        MAKER_NOTE: (UNDEFINED, note),
        USER_COMMENT: (UNDEFINED, UNICODE + comment.encode("utf-16-be", errors="surrogatepass")),
    }
    return PREFIX + HEADER + _folder(main, len(HEADER)) + _folder(inner, start)


def _folder(entries: Entries, start: int) -> bytes:
    """An IFD at byte offset `start`, followed by its values longer than four bytes."""
    place = start + 2 + 12 * len(entries) + 4
    folder, values = struct.pack(">H", len(entries)), b""
    for tag, (kind, value) in sorted(entries.items()):
        count = 1 if kind == LONG else len(value)
        folder += struct.pack(">HHI", tag, kind, count)
        if len(value) <= 4:
            folder += value.ljust(4, b"\0")
            continue
        folder += struct.pack(">I", place + len(values))
        values += value + b"\0" * (len(value) % 2)  # values start at even offsets
    return folder + b"\0" * 4 + values
