"""Long lists in parts of a size that a statement takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
SIZE = 500


def parts(values: Iterable[T]) -> Iterator[list[T]]:
    """Lists of at most `SIZE`, none of them empty."""
    rest = iter(values)
    while part := list(islice(rest, SIZE)):
        yield part
