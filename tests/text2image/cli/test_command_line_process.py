"""The command line as a process of its own: signals, pipes and terminals."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_service import FakeService

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.fixture(autouse=True)
def heard_interrupt() -> Iterator[None]:
    """A suite in a shell's background would hand its ignored Ctrl-C on to the processes.

    Not in a preexec_fn: its fork runs gRPC's fork handlers, whose threads abort now and then.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def spawn(
    service: FakeService, folder: Path, *arguments: str | bytes, **env: str
) -> subprocess.Popen[bytes]:
    ours = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "client.py"), *arguments],
        cwd=folder,
        env={**ours, "TEXT2IMAGE_ADDRESS": service.address, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for_request(service: FakeService) -> None:
    end = time.monotonic() + 60
    while not service.active and time.monotonic() < end:
        time.sleep(0.02)
    assert service.active


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("step", [0, 2])
def test_a_signal_cancels_on_the_service_too(
    service: FakeService, tmp_path: Path, number: signal.Signals, exit_code: int, step: int
) -> None:
    service.hang_at_step = step
    process = spawn(service, tmp_path, "generate", "x", "-o", "x.png", "--preview")
    wait_for_request(service)
    time.sleep(0.2)
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert process.returncode == exit_code
    assert b"Traceback" not in err
    assert out == b""
    assert service.wait_cancelled()
    assert os.listdir(tmp_path) == []


def test_progress_and_results_do_not_mix(service: FakeService, tmp_path: Path) -> None:
    process = spawn(service, tmp_path, "generate", "x", "-o", "x.png", "--json")
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert json.loads(out)["images"][0]["file"] == "x.png"
    assert b"step 3/3" in err


def test_a_terminal_shows_a_bar_and_is_left_clean(service: FakeService, tmp_path: Path) -> None:
    terminal, end = pty.openpty()
    done = subprocess.run(
        [sys.executable, str(ROOT / "client.py"), "generate", "x", "-o", "x.png"],
        cwd=tmp_path,
        env={
            **os.environ,
            "TEXT2IMAGE_ADDRESS": service.address,
            "TERM": "vt100",
            "COLUMNS": "60",
        },
        stdout=subprocess.PIPE,
        stderr=end,
        timeout=20,
    )
    os.close(end)
    seen = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert (done.returncode, done.stdout) == (0, b"x.png\n")
    *drawn, last = seen.split("\r" + " " * 59 + "\r")
    assert "] step 3/3" in drawn[0]
    assert last.startswith("done in")


def test_a_terminal_without_unicode_shows_escapes(service: FakeService, tmp_path: Path) -> None:
    service.status.message = "größer 🍎"
    process = spawn(service, tmp_path, "status", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")
    assert rb"gr\xf6\xdfer \U0001f34e" in out


def test_a_prompt_that_is_no_text_is_refused(service: FakeService, tmp_path: Path) -> None:
    process = spawn(service, tmp_path, "generate", b"a \xff apple")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert err == b"client.py: prompt: Must be text that UTF-8 can carry.\n"


def test_a_reader_that_left_is_no_traceback(service: FakeService, tmp_path: Path) -> None:
    process = spawn(service, tmp_path, "generate", "x", "-o", "x.png")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    assert process.wait(timeout=20) == 1
    assert b"Traceback" not in err
    assert b"BrokenPipe" not in err
    assert os.listdir(tmp_path) == ["x.png"]


def test_a_failed_handshake_is_our_line_alone(service: FakeService, tmp_path: Path) -> None:
    process = spawn(service, tmp_path, "status", "--tls")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 3
    assert err.startswith(b"client.py: The service at")
    assert err.count(b"\n") == 1


def test_a_full_disk_behind_stdout_is_one_line(service: FakeService, tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, str(ROOT / "client.py"), "status", "--address", service.address],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=20,
        )
    assert done.returncode == 1
    assert done.stderr == b"client.py: can't write to stdout: No space left on device\n"


def test_it_runs_from_any_folder_without_the_backend(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import client; "
        "heavy = {'torch', 'backend', 'streamlit', 'numpy', 'PIL'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)], cwd=tmp_path, capture_output=True, timeout=20
    )
    assert (done.returncode, done.stderr) == (0, b"")
