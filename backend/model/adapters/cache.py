"""Runtimes with LoRAs merged in: an LRU cache, bounded by memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from backend.model.adapters.folder import Stamp
from backend.model.runtime.protocol import Runtime


class Used(NamedTuple):
    """One LoRA of a set: its name, its weight, and the state of its file."""

    name: str
    scale: float
    stamp: Stamp


AdapterSet = tuple[Used, ...]  # by name


class Built(NamedTuple):
    """A runtime of its own, its bytes, and what gives them back."""

    runtime: Runtime
    num_bytes: int
    release: Callable[[], None]


class RuntimeCache:
    """The least recently used go first; the latest stays, even where it is alone too large."""

    def __init__(self, build: Callable[[AdapterSet], Built], budget_bytes: int) -> None:
        self._build = build
        self._budget_bytes = budget_bytes
        self._built: OrderedDict[AdapterSet, Built] = OrderedDict()
        self._lock = threading.Lock()  # held for moments
        self._building = threading.Lock()  # held for seconds

    @property
    def num_bytes(self) -> int:
        """Held now."""
        with self._lock:
            return sum(built.num_bytes for built in self._built.values())

    def get(self, adapters: AdapterSet) -> Runtime:
        """The runtime of this set, built on a miss.

        Raises:
            ModelFailed: a file doesn't fit the model.
        """
        known = self._recall(adapters)
        if known is not None:
            return known
        with self._building:
            known = self._recall(adapters)  # another thread has built it meanwhile
            if known is not None:
                return known
            built = self._build(adapters)
            with self._lock:
                self._built[adapters] = built
                evicted = self._evict()
        for old in evicted:
            old.release()
        return built.runtime

    def _recall(self, adapters: AdapterSet) -> Runtime | None:
        with self._lock:
            if adapters not in self._built:
                return None
            self._built.move_to_end(adapters)
            return self._built[adapters].runtime

    def _evict(self) -> list[Built]:
        evicted = []
        held = sum(built.num_bytes for built in self._built.values())
        while held > self._budget_bytes and len(self._built) > 1:
            _, old = self._built.popitem(last=False)
            held -= old.num_bytes
            evicted.append(old)
        return evicted
