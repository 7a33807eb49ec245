"""Gives memory back to the system."""

from __future__ import annotations

import ctypes
import sys

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LARGE_BYTES = 2**20


def return_large_blocks() -> None:
    """Have glibc map every large block by itself, so that freeing it frees memory.

    By default it stops doing so for blocks of the size of a decoded picture once it has seen one.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
