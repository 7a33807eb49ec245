"""Builds what `pip install .` installs: the client library and the command `text2image`.

Backend and studio run from the checkout. Installed, the contract lies within the library: a
top-level package `proto` would collide with proto-plus's. And the library exports what `client.py`
does.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
INSIDE = "text2image.contract"


class BuildLibrary(build_py):
    """Puts the contract and the exports into the built package."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # the checkout itself is imported
            return
        library = Path(self.build_lib) / "text2image"
        shutil.copy(ROOT / "client.py", library / "__init__.py")
        shutil.copytree(
            ROOT / "proto",
            library / "contract",
            ignore=shutil.ignore_patterns("__pycache__"),
            dirs_exist_ok=True,
        )
        for module in library.rglob("*.py"):
            text = module.read_text("utf-8")
            module.write_text(text.replace("from proto import", f"from {INSIDE} import"), "utf-8")


setup(cmdclass={"build_py": BuildLibrary})
