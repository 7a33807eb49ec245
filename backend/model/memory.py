"""Recognises what running out of memory looks like on each device, and gives memory back."""

from __future__ import annotations

import ctypes
import gc
import sys

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


def release() -> None:
    """Give back to the machine what a model took that nothing holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":  # its allocator keeps what is freed, mostly
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not every libc has it
        if trim is not None:
            trim(0)
