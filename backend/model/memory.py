"""Memory limits of the machine and the GPU, and returning freed memory."""

from __future__ import annotations

import contextlib
import gc

import psutil
import torch

from backend import cgroup, heap
from backend.config import Settings

SHARE_OF_FREE = 0.9  # of device memory; the rest covers fragmentation and other programs


def machine_bytes() -> int:
    """Total memory of this machine, or the container's limit if that is lower."""
    total = int(psutil.virtual_memory().total)
    limited = cgroup.memory()
    return total if limited is None else min(total, limited.total)


def free_bytes(device: torch.device, fraction: float) -> int:
    """CUDA memory that batches may use, at most `fraction` of the device; 0 on other devices.

    Memory that torch has reserved but does not use counts as free. The peak of temporary memory
    so far (usually a decode) is set aside, since CUDA graphs of large batches would not free it.
    """
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    used, held = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    transient = torch.cuda.max_memory_allocated(device) - used
    return int(SHARE_OF_FREE * min(free + held - used, fraction * total - used)) - transient


def models_budget(settings: Settings, device: torch.device) -> int:
    """Bytes for the weights of all models together: as configured, or half the device's memory."""
    if settings.model_memory_mb:
        return settings.model_memory_mb * 2**20
    if device.type != "cuda":
        return machine_bytes() // 2
    return int(settings.gpu_memory_fraction * torch.cuda.mem_get_info(device)[1]) // 2


def release() -> None:
    """Return unused memory to the device and the operating system."""
    gc.collect()
    with contextlib.suppress(RuntimeError):  # the device is lost
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if torch.backends.mps.is_available():
            torch.mps.empty_cache()
    heap.trim()
