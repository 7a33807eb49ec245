"""The process: how it ends, what it leaves behind, what its log looks like."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from client import Text2ImageClient
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.process import ROOT, BackendProcess

pytestmark = [pytest.mark.e2e]

MODULE = "tests.support.fake_backend"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the processes put what is temporary; a socket's path must be short."""
    folder = Path(tempfile.mkdtemp(prefix="t2i-"))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_a_terminal_that_is_closed_drains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "0.1")
    with BackendProcess(tmp_path / "log", MODULE) as backend:
        backend.wait_ready()
        with ThreadPoolExecutor(1) as pool, Text2ImageClient(backend.address) as client:
            running = pool.submit(client.generate, "a fox", num_inference_steps=20)
            until(lambda: client.status().queue.running == 1)
            backend.process.send_signal(signal.SIGHUP)
            assert len(running.result(60).images) == 1
        assert backend.process.wait(60) == 0
        assert "draining" in backend.log.read_text("utf-8")


def test_what_a_killed_server_leaves_goes_with_the_next_start(
    tmp_path: Path, temporary: Path
) -> None:
    with BackendProcess(tmp_path / "first", MODULE) as first:
        first.wait_ready()
        first.process.kill()
        first.process.wait()
        assert len(list(temporary.glob("text2image-*"))) == 1
    with BackendProcess(tmp_path / "second", MODULE) as second:
        second.wait_ready()
        with BackendProcess(tmp_path / "third", MODULE) as third:
            third.wait_ready()
            assert len(list(temporary.glob("text2image-*"))) == 2  # living ones stay
            assert third.stop() == 0
        assert second.stop() == 0
    assert list(temporary.glob("text2image-*")) == []


def is_healthy(port: int) -> bool:
    """What a container's health check says."""
    command = [sys.executable, "-m", "backend.transport.health"]
    environ = os.environ | {"TEXT2IMAGE_PORT": str(port)}
    return subprocess.run(command, cwd=ROOT, env=environ, timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("over_tls", [False, True])
def test_the_health_check_asks_whatever_the_ports_want(
    tmp_path: Path, temporary: Path, over_tls: bool
) -> None:
    port = free_port()
    settings: dict[str, Any] = {}
    if over_tls:
        authority = Authority.create(tmp_path / "ca")
        files = authority.issue("server")
        settings = {"TLS_CERT": files.cert, "TLS_KEY": files.key, "TLS_CLIENT_CA": authority.ca}
    with BackendProcess(tmp_path / "log", MODULE, PORT=port, HTTP_PORT=0, **settings) as backend:
        backend.event("listening")
        assert is_healthy(port)
        assert not is_healthy(port + 1)
        backend.process.kill()
        backend.process.wait()
        assert not is_healthy(port)


def test_every_line_of_a_json_log_is_json(tmp_path: Path) -> None:
    with BackendProcess(tmp_path / "log", MODULE, HTTP_PORT=free_port()) as backend:
        backend.wait_ready()
        with socket.create_connection(("127.0.0.1", backend.http_port)) as rude:
            rude.sendall(b"\x00 no HTTP\r\n\r\n")
            rude.recv(100)
        assert httpx.get(f"http://127.0.0.1:{backend.http_port}/v1/nothing").status_code == 404
        assert backend.stop() == 0
    lines = [json.loads(line) for line in backend.log.read_text("utf-8").splitlines()]
    assert "Invalid HTTP request received." in {line["event"] for line in lines}
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)


def test_a_crash_is_one_line_of_the_json_log() -> None:
    script = "from backend import logs; logs.configure('json', 'info'); 1 / 0"
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    line = json.loads(ended.stderr)
    assert line["event"] == "crashed"
    assert "ZeroDivisionError" in line["exception"]


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
