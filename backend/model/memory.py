"""Memory: the limit of this machine or container, and returning what is freed."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable
from pathlib import Path

import psutil
import torch

from backend import heap

LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)  # of the container we run in: of Linux's control groups, second and first version
SHARE_OF_FREE = 0.9  # of device memory; the rest is lost between blocks, and to other programs


def machine_bytes(limits: Iterable[Path] = LIMITS) -> int:
    """Memory of this machine, or of the container that we run in where that has less."""
    known = [psutil.virtual_memory().total]
    for limit in limits:
        with contextlib.suppress(OSError, ValueError):  # not there, or "max": no limit
            known.append(int(limit.read_text(encoding="ascii")))
    return min(known)


def free_bytes(device: torch.device, fraction: float) -> int:
    """Memory of a CUDA device that batches may still take, up to `fraction` of all; else 0.

    What torch holds and does not use counts as free. What the model needed most beyond what it
    keeps, a decoding mostly, is left to it: graphs of large batches would not give it back.
    """
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    used, held = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    transient = torch.cuda.max_memory_allocated(device) - used
    return int(SHARE_OF_FREE * min(free + held - used, fraction * total - used)) - transient


def release() -> None:
    """Give back to the machine what a model took that nothing holds any more."""
    gc.collect()
    with contextlib.suppress(RuntimeError):  # of a lost device
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if torch.backends.mps.is_available():
            torch.mps.empty_cache()
    heap.trim()
