"""How much memory there is, what running out of it looks like, and how it is given back."""

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
CPU_ALLOCATOR = ("DefaultCPUAllocator", "not enough memory", "can't allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that the device's or the machine's memory is used up."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # torch's CPU allocator and MPS raise a plain RuntimeError
    text = str(error)
    return isinstance(error, RuntimeError) and (
        any(sign in text for sign in CPU_ALLOCATOR) or "out of memory" in text.lower()
    )


def machine_bytes(limits: Iterable[Path] = LIMITS) -> int:
    """Memory of this machine, or of the container that we run in where that has less."""
    known = [psutil.virtual_memory().total]
    for limit in limits:
        with contextlib.suppress(OSError, ValueError):  # not there, or "max": no limit
            known.append(int(limit.read_text(encoding="ascii")))
    return min(known)


def free_bytes(device: torch.device, fraction: float) -> int:
    """Memory of a CUDA device that this process may still take, up to `fraction` of all; else 0.

    What torch holds and does not use counts as free.
    """
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    used, held = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    return int(SHARE_OF_FREE * min(free + held - used, fraction * total - used))


def release() -> None:
    """Give back to the machine what a model took that nothing holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    heap.trim()
