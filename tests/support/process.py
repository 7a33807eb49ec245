"""`python -m backend` as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from client import Text2ImageClient

ROOT = Path(__file__).parent.parent.parent
START_S = 280.0  # importing torch on busy cores


def environment(**settings: object) -> dict[str, str]:
    """This one, less the variables of ours, plus `settings`."""
    clean = {name: value for name, value in os.environ.items() if "TEXT2IMAGE_" not in name}
    given = {"LOG_FORMAT": "json", "HTTP_PORT": 0, "PORT": 0, "NUM_THREADS": 1, "DEVICE": "cpu"}
    ours = {f"TEXT2IMAGE_{name}": str(value) for name, value in (given | settings).items()}
    return clean | ours


class BackendProcess:
    """A backend that is being started; its log is read as JSON lines."""

    def __init__(
        self,
        log: Path,
        module: str = "backend",
        max_descriptors: int | None = None,
        **settings: object,
    ) -> None:
        """`module`: tests.support.fake_backend starts without torch."""
        limit = [] if max_descriptors is None else ["prlimit", f"--nofile={max_descriptors}"]
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*limit, sys.executable, "-m", module],
                cwd=ROOT,
                env=environment(**settings),
                stdout=output,
                stderr=output,
            )

    def event(self, name: str) -> dict[str, Any]:
        """Wait for a line of the log, and return it."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            for line in self.lines():
                if line.get("event") == name:
                    return line
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"no {name!r} in the log:\n{self.log.read_text('utf-8')}")

    def lines(self) -> list[dict[str, Any]]:
        """The whole lines of the log so far."""
        whole = self.log.read_text("utf-8").rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in whole if line.startswith("{")]

    @property
    def port(self) -> int:
        return int(self.event("listening")["grpc"])

    @property
    def http_port(self) -> int:
        return int(self.event("listening")["http"])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def wait_ready(self) -> None:
        with Text2ImageClient(self.address) as client:
            client.wait_ready(START_S)

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 30.0) -> int:
        """Send the signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def run_until_exit(**settings: object) -> subprocess.CompletedProcess[str]:
    """For starts that must fail."""
    return subprocess.run(
        [sys.executable, "-m", "backend"],
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )
