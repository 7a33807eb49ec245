"""What running out of memory and losing the device look like, as errors of ours."""

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
    """Whether `error` says that the device's or the machine's memory is used up."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # torch's CPU allocator, its libraries for CUDA and MPS raise a plain RuntimeError
    text = str(error)
    return isinstance(error, RuntimeError) and (
        any(sign in text for sign in SIGNS) or "out of memory" in text.lower()
    )


def is_device_lost(error: BaseException) -> bool:
    """Whether a kernel failed: CUDA then answers every later call of the process with an error."""
    return isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error)


@contextmanager
def naming_failures(out_of_memory: str) -> Iterator[None]:
    """Inside, the device's failures become ours.

    Raises:
        OutOfMemory: saying `out_of_memory`.
        DeviceLost: nothing can be computed any more.
    """
    try:
        yield
        return
    except (RuntimeError, MemoryError) as error:
        if is_device_lost(error):
            raise DeviceLost(str(error).partition("\n")[0]) from error
        if not is_out_of_memory(error):
            raise
    # Outside of the except clause: no traceback keeps the failed step's tensors alive.
    raise OutOfMemory(out_of_memory)
