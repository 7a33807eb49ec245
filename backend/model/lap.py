"""Time on a device that computes behind the host's back: measured by the device itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from backend.model.failures import naming_failures


def event(device: torch.device, *, timed: bool = False) -> Any:
    """An event of a CUDA or Metal device; None for a CPU, which computes while it is called."""
    if device.type == "cuda":
        return torch.cuda.Event(enable_timing=timed)
    return torch.mps.Event(enable_timing=timed) if device.type == "mps" else None


def wait_for(device: torch.device) -> None:
    """Wait until `device` has done what was queued on the current stream.

    Not for the whole device: that would break the capture of a CUDA graph on another thread.
    """
    end = event(device)
    if end is not None:
        end.record()
        end.synchronize()


class DeviceLap:
    """A `Lap`: what the device does between `start` and `stop`, once it has done it."""

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
        """Milliseconds; None while the device is not there yet.

        Raises:
            DeviceLost: it never will be.
        """
        with naming_failures("The device ran out of memory."):
            if not self._end.query():
                return None
            elapsed_ms: float = self._start.elapsed_time(self._end)
            return elapsed_ms


class Pace:
    """Keeps the host one step ahead of the device.

    So that the device always has work, and who leaves or joins waits for no more than that.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last: Any = None

    def queued(self) -> None:
        """A step was queued: wait until the one before it is done."""
        before, self._last = self._last, event(self._device)
        if self._last is not None:
            self._last.record()
        if before is not None:
            before.synchronize()
