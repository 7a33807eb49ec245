"""An LRU cache of compiled networks, up to 40 % of RAM."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple

SHARE_OF_MEMORY = 0.4  # the rest is for activations, compiling and other programs
MOST = 48


def budget(num_parameters: int, memory_bytes: int) -> int:
    """The cache's limit in bytes: a share of memory, but at least one image's networks."""
    return max(int(SHARE_OF_MEMORY * memory_bytes), 4 * num_parameters)


class _Network(NamedTuple):
    request: Any
    num_bytes: int


class NetworkCache:
    """Compiled networks by shape. The size of each is estimated as that of its weights."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._networks: OrderedDict[Hashable, _Network] = OrderedDict()
        self._lock = threading.Lock()  # held briefly
        self._compiling = threading.Lock()  # held for seconds while compiling

    def get(self, key: Hashable, find: Callable[[], Path], compile: Callable[[Path], Any]) -> Any:
        """The network for `key`; on a miss it is compiled from the file that `find` returns.

        Evicts before compiling, since old and new might not fit into memory together.
        """
        request = self._recall(key)
        if request is not None:
            return request
        with self._compiling:
            request = self._recall(key)  # another thread may have compiled it
            if request is None:
                path = find()
                num_bytes = path.with_suffix(".bin").stat().st_size
                self._make_room(num_bytes)
                request = compile(path)
                with self._lock:
                    self._networks[key] = _Network(request, num_bytes)
        return request

    def only_find(self, find: Callable[[], Path]) -> None:
        """Have the file that `find` returns without compiling it; one conversion at a time."""
        with self._compiling:
            find()

    def drop(self, wanted: Callable[[Hashable], bool]) -> None:
        """Forget the networks of such keys."""
        with self._lock:
            for key in [key for key in self._networks if wanted(key)]:
                del self._networks[key]

    def _recall(self, key: Hashable) -> Any | None:
        with self._lock:
            if key not in self._networks:
                return None
            self._networks.move_to_end(key)
            return self._networks[key].request

    def _make_room(self, num_bytes: int) -> None:
        with self._lock:
            while self._networks and not self._has_room(num_bytes):
                self._networks.popitem(last=False)

    def _has_room(self, num_bytes: int) -> bool:
        held = sum(network.num_bytes for network in self._networks.values())
        return held + num_bytes <= self._budget and len(self._networks) < MOST
