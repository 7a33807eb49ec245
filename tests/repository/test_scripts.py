"""The scripts behind make."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from client import Text2ImageClient
from proto import text2image_pb2 as pb
from scripts import demo, install
from tests.support.fake_service import FakeService

ROOT = Path(__file__).parent.parent.parent


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], **environ}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


def test_missing_programs_are_named_with_the_command_that_brings_them(tmp_path: Path) -> None:
    only = tmp_path / "bin"
    only.mkdir()
    for name in ("sh", "dirname", "id", "env"):
        (only / name).symlink_to(f"/usr/bin/{name}")
    done = run("/bin/sh", "scripts/system-packages", PATH=str(only), NO_SYSTEM_PACKAGES="1")
    assert done.returncode == 0
    assert "sudo apt-get install" in done.stdout
    assert "nodejs" in done.stdout


def test_no_hint_where_the_index_is_given() -> None:
    assert run("scripts/torch-hint", TORCH_INDEX_URL="somewhere").stdout == ""


def test_demo_ends_both_when_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    ender = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    children = {"studio": sleeper, "backend": ender}
    assert demo.wait(children) == 3
    demo.stop(list(children.values()))
    assert sleeper.poll() is not None


def test_demo_insists_on_the_end_of_a_deaf_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "STOP_S", 0.5)
    code = (
        "import signal,time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    )
    deaf = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert deaf.stdout is not None
    deaf.stdout.readline()
    demo.stop([deaf])
    deaf.stdout.close()
    assert deaf.wait(5) == -9


def test_demo_says_when_the_model_can_draw(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeService() as service:
        demo.announce_ready(service.address, time.monotonic() - 7)
    assert "Ready to draw after 7." in capsys.readouterr().out


def test_demo_says_every_second_what_it_waits_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "EVERY_S", 0.3)
    with FakeService() as service:
        service.set_serving(False)
        service.status.state = pb.GetStatusResponse.STATE_STARTING
        service.status.message = "Loading tiny."
        threading.Timer(1.0, service.set_serving, (True,)).start()
        demo.announce_ready(service.address, time.monotonic() - 7)
    waiting, _, ready = capsys.readouterr().out.partition("\n\n")
    assert len(waiting.splitlines()) >= 2
    assert all(line.endswith(" s  Loading tiny.") for line in waiting.splitlines())
    assert "Ready to draw after" in ready


def test_demo_says_so_where_the_backend_does_not_answer_yet() -> None:
    with FakeService() as service:
        address = service.address
    with Text2ImageClient(address) as client:
        assert demo.doing(client) == "Starting the backend."


def test_demo_promises_nothing_where_the_model_failed(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeService() as service:
        service.set_serving(False)
        service.status.state = pb.GetStatusResponse.STATE_FAILED
        demo.announce_ready(service.address, time.monotonic())
    assert capsys.readouterr().out == ""


def test_the_dependencies_of_the_extras_are_installed_and_no_others() -> None:
    wanted = [text.partition(">")[0] for text in install.requirements(["ui"])]
    assert {"grpcio", "streamlit[auth]", "sqlalchemy"} <= set(wanted)
    assert "torch" not in wanted


def test_uv_installs_where_it_is_there_and_pip_where_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    failing = subprocess.CompletedProcess[bytes]([], 1)

    def note(command: list[str], check: bool = False) -> subprocess.CompletedProcess[bytes]:
        ran.append(command)
        return failing

    monkeypatch.setattr(subprocess, "run", note)
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setenv("TORCH_INDEX_URL", "somewhere")
    install.install(["ui"])
    assert [command[:3] for command in ran] == [
        ["/bin/uv", "pip", "install"],
        [sys.executable, "-m", "pip"],
    ]
    assert all("somewhere" in command for command in ran)
    failing.returncode = 0
    install.install(["ui"])
    assert len(ran) == 3  # uv alone


@pytest.mark.parametrize("extra", install.STARTS)
def test_what_is_compiled_at_the_installation_can_be_imported(extra: str) -> None:
    done = run(sys.executable, "-c", install.STARTS[extra], HOME="/nonexistent")
    assert done.returncode == 0, done.stderr
