"""Install the dependencies of some extras into this Python's environment: `install.py backend ui`.

Uses uv if it is installed, else pip. pip compiles every file, which takes half of its time; we only
compile what the backend and the studio import at their start, in parallel.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
FIRST_PYTHON, TOO_NEW_PYTHON = (3, 11), (3, 15)
OLDEST_MACOS = 14
STARTS = {
    "backend": "import backend.__main__, backend.model.loader, backend.model.checkpoint.folder,"
    " backend.model.measure.costs",
    "openvino": "import backend.model.openvino.runtime",
    "ui": "import streamlit.web.cli, streamlit.web.bootstrap, streamlit.runtime.scriptrunner,"
    " ui.jobs, ui.storage.database",
}


def refusal() -> str:
    """Why nothing can be installed here, in one line; empty if it can."""
    if not FIRST_PYTHON <= sys.version_info[:2] < TOO_NEW_PYTHON:
        return f"Python 3.11 to 3.14 is needed, this is {platform.python_version()}."
    if sys.platform == "darwin":
        return _refusal_of_mac(platform.machine())
    if sys.platform == "win32" and sysconfig.get_platform() == "win-arm64":
        return "Arm's Python for Windows can't run it: torch and grpcio have no build for it."
    return ""


def _refusal_of_mac(machine: str) -> str:
    if machine != "arm64":
        return (
            "Intel Macs can't run it: torch has no build for them. (On Apple Silicon this Python"
            " is one for Intel: install one for arm64.)"
        )
    release = platform.mac_ver()[0]
    major = release.partition(".")[0]
    if major.isdigit() and int(major) < OLDEST_MACOS:
        return (
            f"macOS {OLDEST_MACOS} or newer is needed, this is {release}: torch has no older build."
        )
    return ""


def requirements(extras: Iterable[str]) -> list[str]:
    """The requirements in pyproject.toml, read directly to avoid building a package."""
    import tomllib  # older Pythons, which are refused, have none

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(text for extra in extras for text in optional[extra])]


def command(uv: str | None, index_url: str | None) -> list[str]:
    """The installer's command without packages; `index_url` is an additional index."""
    extra = ["--extra-index-url", index_url] if index_url else []
    if uv is not None:
        first = [uv, "pip", "install", "--python", sys.executable]
        return [*first, "--index-strategy", "unsafe-best-match", *extra]
    return [sys.executable, "-m", "pip", "install", "--no-compile", *extra]


def install(extras: list[str]) -> None:
    """Install packages, with uv if that works; without OpenVINO where it has no build.

    Raises:
        subprocess.CalledProcessError: pip failed.
    """
    try:
        _install(extras)
    except subprocess.CalledProcessError:
        if "openvino" not in extras:
            raise
        print("Trying again without OpenVINO: torch can run the model.", file=sys.stderr)
        _install([extra for extra in extras if extra != "openvino"])


def _install(extras: list[str]) -> None:
    wanted = ["--quiet", "-c", str(ROOT / "constraints.txt"), *requirements(extras)]
    index_url, uv = os.environ.get("TORCH_INDEX_URL"), shutil.which("uv")
    if uv is not None and not subprocess.run([*command(uv, index_url), *wanted]).returncode:
        return
    subprocess.run([*command(None, index_url), *wanted], check=True)


def precompile(extras: list[str]) -> None:
    """Compile the modules imported at a start; optional, so failures are ignored."""
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
    if why := refusal():
        print(why, file=sys.stderr)
        return 2
    print("Installing the packages, which takes minutes where none is cached.", flush=True)
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
