"""Recognises out-of-memory and lost-device errors of torch, and raises ours instead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from backend.errors import DeviceLost, OutOfMemory

SIGNS = (
    "DefaultCPUAllocator",
    "not enough memory",
    "can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` means that the device or the machine is out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # torch's CPU allocator, CUDA libraries and MPS raise a plain RuntimeError
    text = str(error)
    return isinstance(error, RuntimeError) and (
        any(sign in text for sign in SIGNS) or "out of memory" in text.lower()
    )


def is_device_lost(error: BaseException) -> bool:
    """Whether a kernel failed; after that CUDA fails every later call of the process."""
    return isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error)


@contextmanager
def naming_failures(out_of_memory: str) -> Iterator[None]:
    """Translate the device's failures into our errors.

    Raises:
        OutOfMemory: with the text `out_of_memory`.
        DeviceLost: the process can't use the device any more.
    """
    try:
        yield
        return
    except (RuntimeError, MemoryError) as error:
        if is_device_lost(error):
            raise DeviceLost(str(error).partition("\n")[0]) from error
        if not is_out_of_memory(error):
            raise
    # Raised outside the except clause, so that no traceback keeps the step's tensors alive.
    raise OutOfMemory(out_of_memory)
