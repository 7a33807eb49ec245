"""An LRU cache bounded by bytes, whose values take seconds to build."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Sized(NamedTuple, Generic[V]):
    """A value and its bytes."""

    value: V
    num_bytes: int


class LruCache(Generic[K, V]):
    """Values by key, each built once. For any thread; only misses wait for a build.

    The latest value stays, even if it alone exceeds the budget.
    """

    def __init__(
        self,
        budget_bytes: int,
        max_values: int | None = None,
        on_evict: Callable[[V], None] = lambda _: None,
    ) -> None:
        self._budget_bytes = budget_bytes
        self._max_values = max_values
        self._on_evict = on_evict
        self._values: OrderedDict[K, Sized[V]] = OrderedDict()
        self._lock = threading.Lock()  # held for moments
        self.building = threading.Lock()  # held for seconds

    @property
    def num_bytes(self) -> int:
        """Held now."""
        with self._lock:
            return self._held_bytes()

    def get(self, key: K, build: Callable[[], Sized[V]]) -> V:
        """The value for `key`, built on a miss; an error of `build` is raised, and not kept."""
        known = self._recall(key)
        if known is not None:
            return known.value
        with self.building:
            known = self._recall(key)  # another thread has built it meanwhile
            if known is not None:
                return known.value
            built = build()
            with self._lock:
                self._values[key] = built
        self._evict(spare=1)
        return built.value

    def make_room(self, num_bytes: int) -> None:
        """Evict for a value to come: call it in `build` if old and new don't fit together."""
        self._evict(num_bytes, num_values=1)

    def drop(self, wanted: Callable[[K], bool]) -> None:
        """Forget the values of such keys."""
        with self._lock:
            for key in [key for key in self._values if wanted(key)]:
                del self._values[key]

    def _recall(self, key: K) -> Sized[V] | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def _evict(self, num_bytes: int = 0, num_values: int = 0, spare: int = 0) -> None:
        """Until there is room for so many bytes and values more, or `spare` values are left."""
        evicted = []
        with self._lock:
            while len(self._values) > spare and not self._has_room(num_bytes, num_values):
                evicted.append(self._values.popitem(last=False)[1].value)
        for value in evicted:
            self._on_evict(value)

    def _has_room(self, num_bytes: int, num_values: int) -> bool:
        if self._max_values is not None and len(self._values) + num_values > self._max_values:
            return False
        return self._held_bytes() + num_bytes <= self._budget_bytes

    def _held_bytes(self) -> int:
        return sum(value.num_bytes for value in self._values.values())
