"""Starting and stopping: with a proxy set, without the C++ runtime, without OpenVINO's wheel."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import venv
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
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
    monkeypatch.setattr(signal, "CTRL_BREAK_EVENT", signal.SIGUSR1, raising=False)
    child = demo.start([sys.executable, "-c", "import time; time.sleep(60)"])
    demo.ask_to_end(child)
    assert child.wait(20) == -signal.SIGUSR1


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


@pytest.mark.parametrize(
    ("system", "machine", "release", "told"),
    [
        ("darwin", "x86_64", "15.1", "Intel Macs"),
        ("darwin", "arm64", "13.7", "macOS 14 or newer is needed, this is 13.7"),
        ("darwin", "arm64", "14.0", ""),
        ("win32", "win-arm64", "", "Arm's Python for Windows can't run it"),
        ("win32", "win-amd64", "", ""),
        ("linux", "aarch64", "", ""),
    ],
)
def test_computers_without_wheels_are_refused_before_pip_is_asked(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    system: str,
    machine: str,
    release: str,
    told: str,
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(install, "install", asked.append)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "mac_ver", lambda: (release, ("", "", ""), machine))
    monkeypatch.setattr(sysconfig, "get_platform", lambda: machine)
    assert install.main([]) == (2 if told else 0)
    out, line = capsys.readouterr()
    assert ("takes minutes" in out) != bool(told)  # before pip is silent for so long
    assert told in line
    assert len(line.splitlines()) == bool(told)
    assert bool(asked) != bool(told)


@pytest.mark.parametrize("version", [(3, 10, 9), (3, 15, 0)])
def test_pythons_without_wheels_are_refused(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...]
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    assert install.refusal().startswith("Python 3.11 to 3.14 is needed")


def test_the_environment_is_set_up_once_with_the_standard_library_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    codes = iter([1, 0])

    def call(command: list[str]) -> int:
        ran.append(command)
        return next(codes)

    def create(folder: Path, with_pip: bool) -> None:
        assert with_pip
        demo.venv_python().parent.mkdir(parents=True)
        demo.venv_python().touch()

    monkeypatch.setattr(demo, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(venv, "create", create)
    monkeypatch.setattr(subprocess, "call", call)
    assert demo.set_up() == 1
    assert demo.set_up() == 0  # it goes on where it failed
    assert demo.set_up() == 0  # and has nothing left to do
    assert len(ran) == 2
    assert ran[0][0] == str(demo.venv_python())
    assert ran[0][2:] == ["backend", "ui", "openvino"]


def test_on_windows_ctrl_c_waits_for_the_demo_in_the_new_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child gets Ctrl-C, too, and needs its time to drain."""
    started: list[list[str]] = []
    interrupts = [KeyboardInterrupt(), KeyboardInterrupt()]

    def wait() -> int:
        if interrupts:
            raise interrupts.pop()
        return 130

    def popen(command: list[str]) -> Any:
        started.append(command)
        return SimpleNamespace(wait=wait)

    monkeypatch.setattr(demo, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("it would end this process"))
    monkeypatch.chdir(Path.cwd())
    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        assert demo.go_on() == 130
    python = tmp_path / ".venv" / "Scripts" / "python.exe"
    assert started == [[str(python), "-m", "scripts.demo"]]


def test_demo_starts_without_any_package() -> None:
    command = [sys.executable, "-S", "-m", "scripts.demo", "--nonsense"]
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "usage: python -m scripts.demo [--install]\n")
