"""Recognises what running out of memory looks like on each device."""

from __future__ import annotations

import torch

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
