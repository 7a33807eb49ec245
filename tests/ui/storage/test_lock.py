import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.ports import free_port
from ui.storage.lock import FolderInUse, hold, release

ROOT = Path(__file__).parent.parent.parent.parent
HOLD = (
    "import sys; from pathlib import Path; from ui.storage.lock import hold; "
    "hold(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
)


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the folder."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_studio_is_refused_by_name_until_the_first_is_killed(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        with pytest.raises(FolderInUse, match=f"in use by process {first.pid} on .* since 20"):
            hold(tmp_path)
        first.send_signal(signal.SIGKILL)
        first.wait()
        hold(tmp_path)
    release(tmp_path)


def test_a_second_studio_ends_with_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streamlit", "run", "ui/streamlit_app.py"]
    command += ["--server.port", str(free_port())]
    environ = {**os.environ, "TEXT2IMAGE_DATA_DIR": str(tmp_path)}
    with holder(tmp_path) as first:
        ended = subprocess.run(
            command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False
        )
    assert ended.returncode != 0
    told = f"The studio can't start: {tmp_path} is in use by process {first.pid} on "
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout


def test_who_holds_it_is_not_needed_to_refuse(tmp_path: Path) -> None:
    with holder(tmp_path):
        (tmp_path / "studio.json").write_text("[]", encoding="utf-8")
        with pytest.raises(FolderInUse, match="another studio"):
            hold(tmp_path)


def test_one_process_may_ask_twice_and_other_folders_are_free(tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "a", tmp_path / "b"):
        hold(folder)
    for folder in (tmp_path / "a", tmp_path / "b"):
        release(folder)


def test_a_released_folder_can_be_held_again(tmp_path: Path) -> None:
    hold(tmp_path)
    release(tmp_path)
    with holder(tmp_path), pytest.raises(FolderInUse):
        hold(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_will_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    def no_locks(*_args: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    hold(tmp_path)
    assert "without locks" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        hold(tmp_path)
