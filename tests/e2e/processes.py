"""The real backend and the real studio, each a process on a free port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from client import Text2ImageClient, Text2ImageError
from tests.support.ports import free_port

ROOT = Path(__file__).parent.parent.parent
START_S = 240.0


class Process:
    """A command run from the root, its output in a file."""

    def __init__(self, command: list[str], environ: Mapping[str, str], log: Path) -> None:
        self._command = command
        self._environ = {**os.environ, **environ, "PYTHONUNBUFFERED": "1"}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, environ: Mapping[str, str]) -> None:
        """Add settings, before the start."""
        self._environ.update(environ)

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environ, stdout=log, stderr=log
            )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def check_alive(self) -> None:
        if not self.is_alive:
            raise RuntimeError(f"it ended:\n{self.output()[-3000:]}")

    def output(self) -> str:
        return self._log.read_text(errors="replace", encoding="utf-8")

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("not running")
        return self._process.pid


class Backend(Process):
    """`python -m backend` with the embedded model."""

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        settings = {
            "TEXT2IMAGE_PORT": self.address.rsplit(":", 1)[1],
            "TEXT2IMAGE_HTTP_PORT": "0",
            "TEXT2IMAGE_DATA_DIR": str(folder),
            "TEXT2IMAGE_DEVICE": "cpu",
            "TEXT2IMAGE_RUNTIME": "torch",  # starts without converting networks
            "TEXT2IMAGE_DRAIN_S": "0",
            # Two threads that wait for each other crawl where others want the cores, too.
            "TEXT2IMAGE_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            **(environ or {}),
        }
        super().__init__([sys.executable, "-m", "backend"], settings, folder / "backend.log")

    def run_module(self, module: str) -> None:
        """Start `python -m module` instead: tests.support.fake_backend needs no torch."""
        self._command = [sys.executable, "-m", module]

    def wait_ready(self) -> None:
        end = time.monotonic() + START_S
        with Text2ImageClient(self.address) as client:
            while time.monotonic() < end:
                self.check_alive()
                try:
                    client.wait_ready(timeout=2)
                except Text2ImageError:
                    continue
                return
        raise RuntimeError(f"the backend did not get ready:\n{self.output()[-3000:]}")

    def is_idle(self) -> bool:
        with Text2ImageClient(self.address) as client:
            queue = client.status().queue
        return queue.running == queue.queued == 0

    def wait_idle(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.is_idle():
            if time.monotonic() > end:
                raise AssertionError("the backend is still busy")
            time.sleep(0.05)


class Studio(Process):
    """The studio, as `make ui` starts it."""

    def __init__(
        self, folder: Path, backend: str, environ: Mapping[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        settings = {
            "TEXT2IMAGE_ADDRESS": backend,
            "TEXT2IMAGE_DATA_DIR": str(folder),
            "STREAMLIT_SERVER_PORT": str(self.port),
            **(environ or {}),
        }
        command = [sys.executable, "-m", "streamlit", "run", "ui/streamlit_app.py"]
        super().__init__(command, settings, folder / "studio.log")

    def wait_ready(self) -> None:
        wait_healthy(self, self.url)


def wait_healthy(process: Process, url: str) -> None:
    """Wait until Streamlit answers there."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        process.check_alive()
        try:
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
            continue
        return
    raise RuntimeError(f"the studio did not get ready:\n{process.output()[-3000:]}")
