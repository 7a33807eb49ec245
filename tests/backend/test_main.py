"""`python -m backend`: how it starts, how it refuses to, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend import logs
from backend.__main__ import EXIT_CONFIG, EXIT_DEVICE_LOST, main
from client import ModelFailed, ServerError, State, Text2ImageClient, Unavailable
from tests.support.process import START_S, BackendProcess, run_until_exit


class TestRefusals:
    """Exit code 2, and one line that says why."""

    @pytest.fixture(autouse=True)
    def _clean(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
        for name in os.environ:
            if name.startswith("TEXT2IMAGE_"):
                monkeypatch.delenv(name)
        monkeypatch.setenv("TEXT2IMAGE_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("TEXT2IMAGE_PORT", "0")
        monkeypatch.setenv("TEXT2IMAGE_HTTP_PORT", "0")
        monkeypatch.setenv("TEXT2IMAGE_LOG_LEVEL", "error")
        yield
        logs.configure("console", "error")  # main() sent the log to a stream that is closed now

    def refusal(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        **settings: object,
    ) -> str:
        for name, value in settings.items():
            monkeypatch.setenv(f"TEXT2IMAGE_{name}", str(value))
        assert main([]) == EXIT_CONFIG == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("text2image: ")
        return str(line)

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("PORT", "http", "TEXT2IMAGE_PORT='http'"),
            ("MODLE", "x", "Did you mean TEXT2IMAGE_MODEL?"),
            ("HOST", "0.0.0.0", "reachable from outside without TLS"),
            ("LOG_LEVEL", "loud", "TEXT2IMAGE_LOG_LEVEL='loud'"),
            ("MODELS", "gone.toml", "no such file: gone.toml"),
            ("MODELS", "pyproject.toml", "[build-system] requires: there is no such setting"),
        ],
    )
    def test_a_wrong_setting(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        name: str,
        value: str,
        said: str,
    ) -> None:
        assert said in self.refusal(monkeypatch, capsys, **{name: value})

    @pytest.mark.parametrize("name", ["PORT", "HTTP_PORT"])
    def test_a_port_that_is_taken(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            line = self.refusal(monkeypatch, capsys, **{name: port})
        assert f"127.0.0.1:{port}: another program listens there" in line
        assert f"set TEXT2IMAGE_{name} to a free port" in line

    def test_no_keys_in_the_keys_file(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        keys = tmp_path / "keys.json"
        keys.write_text("[]", encoding="utf-8")
        assert "holds no keys" in self.refusal(monkeypatch, capsys, API_KEYS_FILE=keys)


@pytest.mark.e2e
def test_a_second_one_is_refused_and_a_signal_while_the_model_loads_ends_the_first(
    tmp_path: Path,
) -> None:
    with BackendProcess(tmp_path / "log", MODEL="auto", DATA_DIR=tmp_path) as first:
        port = first.port
        second = run_until_exit(PORT=port, DATA_DIR=tmp_path)
        assert second.returncode == EXIT_CONFIG
        assert second.stderr == (
            f"text2image: Can't listen on 127.0.0.1:{port}: another program listens there; "
            "stop it, or set TEXT2IMAGE_PORT to a free port.\n"
        )
        with Text2ImageClient(first.address) as client:
            assert client.status(timeout=60).version
        started = time.monotonic()
        assert first.stop(signal.SIGTERM) == 0, first.log.read_text("utf-8")
        assert time.monotonic() - started < 20
        assert "Traceback" not in first.log.read_text("utf-8")
        with Text2ImageClient(f"127.0.0.1:{port}") as client, pytest.raises(Unavailable):
            client.status()


@pytest.mark.e2e
def test_a_model_that_cannot_be_loaded_is_told_by_a_process_that_stays_up(tmp_path: Path) -> None:
    missing = tmp_path / "no-such-model"
    with BackendProcess(tmp_path / "log", MODEL=missing, DATA_DIR=tmp_path) as backend:
        with Text2ImageClient(backend.address) as client:
            with pytest.raises(ModelFailed) as caught:
                client.wait_ready(START_S)
            assert str(missing) in str(caught.value)
            assert client.status().state is State.FAILED
            with pytest.raises(ModelFailed, match="no-such-model"):
                client.generate("a cat")
        assert backend.process.poll() is None
        assert backend.stop(signal.SIGINT) == 0


def test_a_lost_device_is_told_and_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_LOSS", "a red apple")
    log, module = tmp_path / "log", "tests.support.fake_backend"
    with BackendProcess(log, module, DATA_DIR=tmp_path) as backend:
        with Text2ImageClient(backend.address) as client:
            client.wait_ready(START_S)
            with pytest.raises(ServerError):
                client.generate("a red apple")
            status = client.status()
            assert status.state is State.FAILED
            assert "device-side assert" in status.message
        assert backend.process.wait(20) == EXIT_DEVICE_LOST == 3
    (told,) = [line for line in backend.lines() if line.get("exit_code")]
    assert told["exit_code"] == EXIT_DEVICE_LOST
