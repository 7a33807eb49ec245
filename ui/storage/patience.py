"""Waits for other programs to close a file: Windows neither removes nor renames an open one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
TRIES = 6 if os.name == "nt" else 1  # elsewhere a refusal stays one
FIRST_PAUSE_S = 0.02  # doubled after each try


def unlink(path: Path) -> None:
    """Remove a file, if it exists.

    Raises:
        OSError: it is still open after the last try, or can't be removed.
    """
    patiently(lambda: path.unlink(missing_ok=True))


def rename(path: Path, target: Path) -> Path:
    """Rename a file to a free name.

    Raises:
        OSError: it is still open after the last try, or can't be renamed.
    """
    return patiently(lambda: path.rename(target))


def replace(path: Path, target: Path) -> Path:
    """Rename a file, in place of `target` if that exists.

    Raises:
        OSError: one of them is still open after the last try, or can't be renamed.
    """
    return patiently(lambda: path.replace(target))


def patiently(act: Callable[[], T]) -> T:
    for attempt in range(TRIES - 1):
        try:
            return act()
        except PermissionError:
            time.sleep(FIRST_PAUSE_S * 2**attempt)
    return act()
