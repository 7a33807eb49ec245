"""The C library's heap, which keeps most of what is freed."""

from __future__ import annotations

import ctypes
import sys


def trim() -> None:
    """Give back to the machine what is free. Takes milliseconds, without the GIL."""
    if sys.platform == "linux":
        malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not every libc has it
        if malloc_trim is not None:
            malloc_trim(0)
