"""Every owner's share of the disk."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa


class QuotaFull(OSError):
    """The owner's disk quota is used up."""


@dataclass
class Quota:
    """Thread-safe. `used` tells an owner's bytes, `purge` makes room from what is deleted."""

    num_bytes: int
    used: Callable[[str], int]
    purge: Callable[[str], object]
    _reserved: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def reserved(self, owner: str, num_bytes: int) -> Iterator[None]:
        """Reserve space while a picture is written.

        Raises:
            QuotaFull: there is not enough, even after purging the owner's deleted pictures.
        """
        with self._lock:
            wanted = self._reserved[owner] + num_bytes
            if not self._has_room(owner, wanted):
                raise QuotaFull(f"your share of {self.num_bytes / 2**20:,.0f} MB is used up")
            self._reserved[owner] = wanted
        try:
            yield
        finally:
            with self._lock:
                self._reserved[owner] -= num_bytes
                if not self._reserved[owner]:
                    del self._reserved[owner]

    def _has_room(self, owner: str, num_bytes: int) -> bool:
        """Whether the quota has space; True if the database fails, to save at least the file."""
        try:
            if self.used(owner) + num_bytes > self.num_bytes:
                self.purge(owner)
            return self.used(owner) + num_bytes <= self.num_bytes
        except sa.exc.SQLAlchemyError:
            return True
