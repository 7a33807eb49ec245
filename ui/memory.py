"""Returns memory to the operating system."""

from __future__ import annotations

import ctypes
import sys

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LARGE_BYTES = 2**20


def return_large_blocks() -> None:
    """Make glibc map large blocks separately, so that freeing them returns the memory.

    By default it raises its threshold once a block of the size of a decoded picture was freed.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
