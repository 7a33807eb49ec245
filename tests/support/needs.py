"""Finds programs that some tests need, or reports that they are missing.

`make test` installs them where it can. Elsewhere the tests that need them are left out, but
under CI=true a left-out test is a failure.
"""

from __future__ import annotations

import glob
import os
import shutil
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parent.parent.parent / "scripts" / "system-packages.txt"


def need(package: str) -> str:
    """The path of the program that Debian's `package` brings; skips the test without it."""
    for name in _programs()[package]:
        found = shutil.which(name) or max(glob.glob(name), default=None)
        if found:
            return found
    reason = f"needs {package}: sudo apt-get install {package}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _programs() -> dict[str, list[str]]:
    lines = (line.split() for line in PACKAGES.read_text("utf-8").splitlines())
    return {words[0]: words[1:] for words in lines if words and not words[0].startswith("#")}
