"""Measures time on asynchronous devices (CUDA, Metal) with the device's own events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from backend.model.failures import naming_failures


def event(device: torch.device, *, timed: bool = False) -> Any:
    """An event of a CUDA or Metal device; None for a CPU, whose calls are synchronous."""
    if device.type == "cuda":
        return torch.cuda.Event(enable_timing=timed)
    return torch.mps.Event(enable_timing=timed) if device.type == "mps" else None


def wait_for(device: torch.device) -> None:
    """Wait for the current stream of `device`.

    Synchronizing the whole device would break a CUDA graph capture on another thread.
    """
    end = event(device)
    if end is not None:
        end.record()
        end.synchronize()


class DeviceLap:
    """A `Lap`: the device's time between construction and `stop`."""

    def __init__(self, device: torch.device, count_captures: Callable[[], int]) -> None:
        self._start, self._end = event(device, timed=True), event(device, timed=True)
        self._count_captures = count_captures
        self._captures = count_captures()
        self.is_typical = True
        self._start.record()

    def stop(self) -> None:
        self._end.record()
        self.is_typical = self._count_captures() == self._captures

    def ms(self) -> float | None:
        """Milliseconds; None while the device has not reached the end.

        Raises:
            DeviceLost: the device failed.
        """
        with naming_failures("The device ran out of memory."):
            if not self._end.query():
                return None
            elapsed_ms: float = self._start.elapsed_time(self._end)
            return elapsed_ms


class Pace:
    """Lets the host run at most one step ahead of the device.

    So the device always has work, and a new or cancelled request takes effect within two steps.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last: Any = None

    def queued(self) -> None:
        """Call after queueing a step: waits until the previous one is done."""
        before, self._last = self._last, event(self._device)
        if self._last is not None:
            self._last.record()
        if before is not None:
            before.synchronize()
