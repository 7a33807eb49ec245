"""Cuts pictures into tiles, so that a network's memory is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

TILE = 192  # pixels a side
OVERLAP = 16  # pixels that a tile sees of its neighbours

Area = tuple[slice, slice]  # rows and columns


class Tile(NamedTuple):
    """What the network sees, what of the picture is kept, and where that lies in what it sees."""

    seen: Area
    kept: Area
    inner: Area


def tiles(height: int, width: int) -> Iterator[Tile]:
    """Tiles whose kept areas cover a picture once."""
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            yield Tile(*zip(_along(top, height), _along(left, width), strict=True))


def times(area: Area, scale: int) -> Area:
    """The area in a picture `scale` times as large."""
    rows, columns = (slice(scale * one.start, scale * one.stop) for one in area)
    return rows, columns


def _along(start: int, length: int) -> tuple[slice, slice, slice]:
    end = min(start + TILE, length)
    first, last = max(0, start - OVERLAP), min(length, end + OVERLAP)
    return slice(first, last), slice(start, end), slice(start - first, end - first)
