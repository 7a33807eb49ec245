"""The C library's heap, which does not return most freed memory by itself."""

from __future__ import annotations

import ctypes
import sys


def trim() -> None:
    """Return free heap memory to the operating system. Takes milliseconds, releases the GIL."""
    if sys.platform == "linux":
        malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not every libc has it
        if malloc_trim is not None:
            malloc_trim(0)
