"""Starts peer servers, each in a virtual environment of its own that the harness sets up."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import site
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.server_rows import free_port

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent
PACKAGES = {"litserve": "litserve", "ray": "ray[serve]"}
START_S = 240.0


class NotHere(Exception):
    """This peer can't be run on this machine; says why."""


def environment(name: str, folder: Path) -> Path:
    """The Python of a virtual environment with the peer, set up if need be.

    torch and diffusers are shared with ours, so that the very same builds are compared.

    Raises:
        NotHere: it doesn't install.
    """
    python = folder / name / "bin" / "python"
    if python.exists():
        return python
    subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
    (packages,) = (folder / name / "lib").glob("python*/site-packages")
    (packages / "shared.pth").write_text("\n".join(site.getsitepackages()))
    pinned = ["-c", str(ROOT / "constraints.txt")]
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "-q", *pinned, PACKAGES[name]],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise NotHere(f"{PACKAGES[name]} does not install: {done.stderr.strip()[-200:]}")
    return python


@contextlib.contextmanager
def peer_server(
    name: str, venvs: Path, folder: str, dtype: str, steps: int
) -> Iterator[Callable[[int], None]]:
    """Yields a function that asks the peer for one picture.

    Raises:
        NotHere: it doesn't install or doesn't start.
    """
    python, port = environment(name, venvs), free_port()
    log = (venvs / f"{name}.log").open("w")
    process = subprocess.Popen(
        [str(python), str(HERE / f"{name}_server.py"), folder, dtype, str(steps), str(port)],
        cwd=venvs,
        stdout=log,
        stderr=log,
        start_new_session=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"},
    )

    def draw(number: int) -> None:
        body = json.dumps({"prompt": f"a red apple and {number} pears"}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/predict", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as answer:
            answer.read()

    try:
        _wait(draw, process, name)
        yield draw
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _wait(draw: Callable[[int], None], process: subprocess.Popen[bytes], name: str) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise NotHere(f"{name} ends at its start: see its log")
        try:
            draw(0)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(1.0)
    raise NotHere(f"{name} does not answer within {START_S:.0f} s")
