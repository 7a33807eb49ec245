"""Starts peer servers, each in its own virtual environment, which is set up if needed."""

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
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from bench.prompts import prompt
from bench.server_rows import free_port

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
START_S = 600.0


class Peer(NamedTuple):
    """`is_ours`: uses our torch and diffusers, so that the same builds are compared;
    else it gets its own, of the same version as ours where it can.
    """

    packages: tuple[str, ...]
    is_ours: bool


PEERS = {
    "litserve": Peer(("litserve",), True),
    "ray": Peer(("ray[serve]",), True),
    "sdcpp": Peer(("stable-diffusion-cpp-python",), True),
    "optimum": Peer(("optimum-intel[diffusers]",), False),
}


class Work(NamedTuple):
    """A peer's task. `size` in pixels; `dtype` is torch's name, or ggml's for sdcpp."""

    model: str
    dtype: str
    steps: int
    size: int


class NotHere(Exception):
    """This peer can't run on this machine; the text says why."""


def environment(name: str, folder: Path) -> Path:
    """The Python of a virtual environment with the peer, set up if needed.

    Raises:
        NotHere: it doesn't install.
    """
    done, python = folder / name / "installed", folder / name / "bin" / "python"
    if done.exists():
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder / name)], check=True)
    packages = list(PEERS[name].packages)
    if PEERS[name].is_ours:
        (installed,) = (folder / name / "lib").glob("python*/site-packages")
        (installed / "shared.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
        packages += ["-c", str(ROOT / "constraints.txt")]
    else:
        packages += [f"{same}=={version(same)}" for same in ("torch", "openvino")]
    install = [str(python), "-m", "pip", "install", "-q", *packages]
    installing = subprocess.run(install, capture_output=True, text=True, encoding="utf-8")
    if installing.returncode:
        raise NotHere(f"{name} does not install: {installing.stderr.strip()[-200:]}")
    if not PEERS[name].is_ours and version("torch").endswith("+cpu"):
        # Its only wheel is built for CUDA, and fails to load beside this torch; nobody needs it.
        subprocess.run([str(python), "-m", "pip", "uninstall", "-qy", "torchvision"], check=True)
    done.touch()
    return python


@contextlib.contextmanager
def peer_server(name: str, venvs: Path, work: Work) -> Iterator[Callable[[int], None]]:
    """Yields a function that requests one picture from the peer.

    Raises:
        NotHere: it doesn't install or doesn't start.
    """
    python, port = environment(name, venvs), free_port()
    log = (venvs / f"{name}.log").open("w", encoding="utf-8")
    process = subprocess.Popen(
        [str(python), str(HERE / f"{name}_server.py"), *map(str, work), str(port)],
        cwd=venvs,
        stdout=log,
        stderr=log,
        start_new_session=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"},
    )

    def draw(number: int) -> None:
        body = json.dumps({"prompt": prompt(number)}).encode()
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
    until = time.perf_counter() + START_S
    while time.perf_counter() < until:
        if process.poll() is not None:
            raise NotHere(f"{name} ends at its start: see its log")
        try:
            draw(0)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(1.0)
    raise NotHere(f"{name} does not answer within {START_S:.0f} s")
