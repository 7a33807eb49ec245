"""Install the dependencies of some extras into this Python's environment: `install.py backend ui`.

uv installs them where it is present, else pip. pip compiles every file, which takes half of its
time; instead only what the backend and the studio import at their start is compiled, in parallel.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
STARTS = {
    "backend": "import backend.__main__, backend.model.loader, backend.model.checkpoint.folder,"
    " backend.model.measure.costs",
    "openvino": "import backend.model.openvino.runtime",
    "ui": "import streamlit.web.cli, streamlit.web.bootstrap, streamlit.runtime.scriptrunner,"
    " ui.jobs, ui.storage.database",
}


def requirements(extras: Iterable[str]) -> list[str]:
    """What pyproject.toml asks for; installing from it directly spares building a package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(text for extra in extras for text in optional[extra])]


def command(uv: str | None, index_url: str | None) -> list[str]:
    """The installer, without what it is to install; `index_url` is searched too."""
    extra = ["--extra-index-url", index_url] if index_url else []
    if uv is not None:
        first = [uv, "pip", "install", "--python", sys.executable]
        return [*first, "--index-strategy", "unsafe-best-match", *extra]
    return [sys.executable, "-m", "pip", "install", "--no-compile", *extra]


def install(extras: list[str]) -> None:
    """Install them, with uv where that works.

    Raises:
        subprocess.CalledProcessError: pip can't.
    """
    wanted = ["--quiet", "-c", str(ROOT / "constraints.txt"), *requirements(extras)]
    index_url, uv = os.environ.get("TORCH_INDEX_URL"), shutil.which("uv")
    if uv is not None and not subprocess.run([*command(uv, index_url), *wanted]).returncode:
        return
    subprocess.run([*command(None, index_url), *wanted], check=True)


def precompile(extras: list[str]) -> None:
    """Have Python write the bytecode of what is imported at a start; not needed, so never fatal."""
    environ = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    running = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environ)
        for extra, code in STARTS.items()
        if extra in extras
    ]
    for process in running:
        process.wait()


def main(extras: list[str]) -> int:
    started = time.monotonic()
    try:
        install(extras)
    except subprocess.CalledProcessError as error:
        return error.returncode
    installed = time.monotonic()
    precompile(extras)
    compiled = time.monotonic()
    print(f"Installed in {installed - started:.0f} s, compiled in {compiled - installed:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
