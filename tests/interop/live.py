"""A live backend for clients that nobody here wrote: `python -m backend` on free ports."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx

from proto import text2image_pb2 as pb
from proto import text2image_pb2_grpc as pb_grpc
from tests.support.ports import free_port

ROOT = Path(__file__).parent.parent.parent
START_TIMEOUT_S = 160
STUB_OPTIONS = (("grpc.use_local_subchannel_pool", 1),)
QUEUE = 2

# Long enough to be caught under way, refused nowhere.
LONG: dict[str, Any] = {
    "prompt": "a slow fox",
    "num_inference_steps": 150,
    "height": 256,
    "width": 256,
}


def unmeasured(side: int) -> dict[str, Any]:
    """A long request of a size that no other test asks for.

    Once a size was measured, a deadline it can't meet is refused at once; only before that does
    the deadline pass under way.
    """
    return LONG | {"height": side, "width": side}


@dataclass(frozen=True)
class Live:
    """Where the backend listens, and what it makes of us."""

    grpc_port: int
    http_port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @contextlib.contextmanager
    def stub(self) -> Iterator[Any]:
        with grpc.insecure_channel(self.address, options=STUB_OPTIONS) as channel:
            yield pb_grpc.Text2ImageServiceStub(channel)

    def status(self) -> pb.GetStatusResponse:
        with self.stub() as stub:
            status: pb.GetStatusResponse = stub.GetStatus(pb.GetStatusRequest(), timeout=5)
            return status

    @property
    def is_idle(self) -> bool:
        queue = self.status().queue
        return queue.queued + queue.running == 0

    @contextlib.contextmanager
    def full_queue(self) -> Iterator[None]:
        """Fill every place with requests that take long, and leave on the way out."""
        with self.stub() as stub:
            calls = [stub.StreamGenerateImage(pb.GenerateImageRequest(**LONG)) for _ in range(20)]
            try:
                until(lambda: self.status().queue.queued >= QUEUE)
                yield
            finally:
                for call in calls:
                    call.cancel()
        until(lambda: self.is_idle)


def until(condition: Callable[[], bool], timeout_s: float = 60) -> float:
    """Wait for it; returns the seconds it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < timeout_s, "it never came"
        time.sleep(0.02)
    return time.monotonic() - start


@contextlib.contextmanager
def live_backend(model: Path, data_dir: Path) -> Iterator[Live]:
    """Start it with a small queue, wait until it is ready, stop it with SIGTERM."""
    live = Live(free_port(), free_port())
    settings = {
        "MODEL": str(model),
        "PORT": str(live.grpc_port),
        "HTTP_PORT": str(live.http_port),
        "DATA_DIR": str(data_dir),
        "DEVICE": "cpu",
        "RUNTIME": "torch",
        "NUM_THREADS": "1",
        "MAX_QUEUE": str(QUEUE),
        "MAX_BATCH_ROWS": "2",
    }
    environ = os.environ | {f"TEXT2IMAGE_{name}": value for name, value in settings.items()}
    log = data_dir / "backend.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "backend"], cwd=ROOT, env=environ, stdout=output, stderr=output
        )
    try:
        _wait_ready(process, live, log)
        yield live
    finally:
        process.send_signal(signal.SIGTERM)
        killer = threading.Timer(30, process.kill)
        killer.start()
        process.wait()
        killer.cancel()


def _wait_ready(process: subprocess.Popen[bytes], live: Live, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the backend ended:\n{log.read_text(encoding='utf-8')}"
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{live.http}/readyz", trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"the backend never got ready:\n{log.read_text(encoding='utf-8')}")
