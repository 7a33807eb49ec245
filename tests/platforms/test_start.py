"""Starting and stopping: with a proxy set, without the C++ runtime, without OpenVINO's wheel."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backend.errors import ModelFailed
from backend.startup import naming_missing_runtime
from scripts import demo, install


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def test_the_address_is_announced_though_a_proxy_is_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("STREAMLIT_SERVER_PORT", str(server.server_port))
        polls = iter([None] * 20)  # then it gives up
        studio = cast(Any, SimpleNamespace(poll=lambda: next(polls, 1)))
        demo.announce(studio, time.monotonic())
    assert f"Studio: http://localhost:{server.server_port}" in capsys.readouterr().out


def test_windows_children_are_asked_to_end_by_ctrl_break(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT, raising=False)
    child = demo.start([sys.executable, "-c", "import time; time.sleep(60)"])
    demo.ask_to_end(child)
    assert child.wait(20) in (-signal.SIGINT, 1)


@pytest.mark.parametrize(
    ("number", "expected"), [(126, ModelFailed), (127, ModelFailed), (5, OSError)]
)
def test_the_missing_runtime_is_named(number: int, expected: type[Exception]) -> None:
    error = OSError("The specified module could not be found")
    error.winerror = number  # type: ignore[attr-defined]
    with pytest.raises(expected) as caught, naming_missing_runtime():
        raise error
    assert ("vc_redist" in str(caught.value)) == (expected is ModelFailed)


def test_openvino_is_left_out_where_it_has_no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[list[str]] = []

    def try_(extras: list[str]) -> None:
        tried.append(extras)
        if "openvino" in extras:
            raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setattr(install, "_install", try_)
    install.install(["backend", "openvino"])
    assert tried == [["backend", "openvino"], ["backend"]]
    monkeypatch.setattr(install, "_install", lambda extras: try_(["openvino"]))
    with pytest.raises(subprocess.CalledProcessError):
        install.install(["backend"])
