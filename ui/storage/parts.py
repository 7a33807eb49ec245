"""Splits long lists into parts that fit into one SQL statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
SIZE = 500


def parts(values: Iterable[T]) -> Iterator[list[T]]:
    """Split into non-empty lists of at most `SIZE`."""
    rest = iter(values)
    while part := list(islice(rest, SIZE)):
        yield part
