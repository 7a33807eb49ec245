"""The state of an emulated CUDA device: memory, clock, and launched operations."""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import torch

ROUNDING = 512  # bytes: what the caching allocator hands out is a multiple
PoolId = tuple[int, int]


class Block:
    """Memory of the device: freed when the last tensor over it goes."""

    def __init__(self, device: Device, nbytes: int, pool: PoolId | None) -> None:
        self.device, self.pool = device, pool
        self.nbytes = -(-nbytes // ROUNDING) * ROUNDING
        device.allocate(self.nbytes, pool)

    def __del__(self) -> None:
        self.device.free(self.nbytes, self.pool)


@dataclass
class Pool:
    """Memory that graphs share: what they reserved stays theirs until the last of them goes."""

    allocated: int = 0
    reserved: int = 0
    graphs: int = 0


@dataclass
class Capture:
    """A capture under way, on one thread."""

    pool: PoolId
    stream_id: int
    mode: str
    calls: list[Call] = field(default_factory=list)
    broken_by: str = ""


@dataclass
class Call:
    """A captured kernel: how to compute it anew, and where its results go."""

    compute: Callable[[], Any]
    results: tuple[torch.Tensor, ...]  # on the host, theirs alone


@dataclass
class Counts:
    """What the device was asked to do."""

    kernels: Counter[str] = field(default_factory=Counter)
    copies_to_device: int = 0
    copies_to_host: int = 0
    replays: int = 0
    syncs: Counter[str] = field(default_factory=Counter)  # of the host with the device

    @property
    def launches(self) -> int:
        """Of kernels, copies and whole graphs."""
        copies = self.copies_to_device + self.copies_to_host
        return self.kernels.total() + copies + self.replays


class Device:
    """One pretended GPU. Thread-safe where the real one is."""

    kernel_ms = 0.01

    def __init__(self, total_bytes: int = 8 << 30) -> None:
        self.total_bytes = total_bytes
        self.fraction = 1.0
        self.taken_by_others = 0
        self.counts = Counts()
        self.pools: dict[PoolId, Pool] = {}
        self.allocated = self.peak = self.reserved = 0
        self.queued_ms = self.done_ms = 0.0  # of the device's own clock
        self.fault = ""  # what a poisoned context answers to everything
        self.fails_to_capture = ""
        self.warns_of_syncs = False
        self.blocks: WeakValueDictionary[int, Block] = WeakValueDictionary()
        self.captures: dict[int, Capture] = {}  # by thread
        self._lock = threading.RLock()

    # Memory

    def allocate(self, nbytes: int, pool: PoolId | None) -> None:
        """Take `nbytes`.

        Raises:
            OutOfMemoryError: as torch's allocator does.
        """
        with self._lock:
            limit = min(
                int(self.fraction * self.total_bytes), self.total_bytes - self.taken_by_others
            )
            pools = sum(one.reserved for one in self.pools.values())
            own = self.allocated - sum(one.allocated for one in self.pools.values())
            needed = nbytes
            if pool is not None:
                needed = max(0, self.pools[pool].allocated + nbytes - self.pools[pool].reserved)
            if own + pools + needed > limit:
                raise torch.OutOfMemoryError(
                    f"CUDA out of memory. Tried to allocate {nbytes} bytes (pretended)."
                )
            self.allocated += nbytes
            self.peak = max(self.peak, self.allocated)
            if pool is not None:
                self.pools[pool].allocated += nbytes
                self.pools[pool].reserved += needed
            self.reserved = max(self.reserved, own + pools + needed)

    def free(self, nbytes: int, pool: PoolId | None) -> None:
        with self._lock:
            self.allocated -= nbytes
            if pool is not None and pool in self.pools:
                self.pools[pool].allocated -= nbytes

    def empty_cache(self) -> None:
        self.check()
        if self.captures:
            raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED (pretended)")
        with self._lock:
            for pool in [*self.pools.values()]:
                if not pool.graphs:
                    pool.reserved = pool.allocated
            private = sum(one.reserved - one.allocated for one in self.pools.values())
            self.reserved = self.allocated + private

    # Time

    def check(self) -> None:
        """Raise what a poisoned context raises at whatever it is asked."""
        if self.fault:
            raise torch.AcceleratorError(f"CUDA error: {self.fault}")

    def poison(self, fault: str = "device-side assert triggered") -> None:
        """From now on every call fails, as after a fault of a kernel."""
        self.fault = fault

    def launch(self, name: str, call: Call | None = None) -> None:
        """Queue one kernel of the calling thread."""
        self.check()
        capture = self.capture
        with self._lock:
            if capture is not None and call is not None:
                capture.calls.append(call)
                return
            self.counts.kernels[name] += 1
            self.queued_ms += self.kernel_ms

    def sync(self, what: str) -> None:
        """The host waits until all that is queued is done."""
        self.check()
        if self.capture is not None:
            self.capture.broken_by = what
            raise torch.AcceleratorError(
                f"CUDA error: operation not permitted when stream is capturing: {what}"
            )
        self.counts.syncs[what] += 1
        self.done_ms = self.queued_ms
        if self.warns_of_syncs:
            warnings.warn("called a synchronizing CUDA operation", stacklevel=3)

    def sync_all(self) -> None:
        """cudaDeviceSynchronize: it breaks every capture, whatever its mode and thread."""
        for capture in self.captures.values():
            capture.broken_by = "cudaDeviceSynchronize"
        if self.captures:
            raise torch.AcceleratorError("CUDA error: operation not permitted while capturing")
        self.sync("synchronize")

    # Capturing

    @property
    def capture(self) -> Capture | None:
        """That of the calling thread."""
        return self.captures.get(threading.get_ident())

    @property
    def memory_pool(self) -> PoolId | None:
        """Where the calling thread's tensors go; None: where all go."""
        capture = self.capture
        return None if capture is None else capture.pool

    def block_of(self, storage: torch.UntypedStorage) -> Block:
        """The device's memory behind a storage of the host that stands for it."""
        with self._lock:
            key = storage._cdata
            block = self.blocks.get(key)
            if block is None:
                block = Block(self, storage.nbytes(), self.memory_pool)
                self.blocks[key] = block
            return block
