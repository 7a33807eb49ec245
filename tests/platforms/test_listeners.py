"""Windows starts the studio's second process beside the first, which must free the port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from streamlit import config

from ui.listeners import close_listeners, listen_on


def test_the_port_is_free_for_the_child_and_others_stay_open() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as ours,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        port = ours.getsockname()[1]
        assert close_listeners(port) == 1
        socket.create_server(("127.0.0.1", port)).close()
        assert other.fileno() >= 0
    assert close_listeners(port) == 0


def test_the_studios_second_process_binds_where_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Windows has no execv that keeps the process: a child takes over, and its end is ours."""
    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        options = {"server.address": None, "server.port": port}

        def child(command: list[str]) -> int:
            assert command == [sys.executable, "-m", "streamlit", "run", "ui/streamlit_app.py"]
            assert os.environ["STREAMLIT_SERVER_ADDRESS"] == "127.0.0.2"
            socket.create_server(("127.0.0.1", port)).close()
            return 7

        monkeypatch.setattr(config, "get_option", options.get)
        monkeypatch.setattr(
            sys, "orig_argv", ["py", "-m", "streamlit", "run", "ui/streamlit_app.py"]
        )
        monkeypatch.setenv("STREAMLIT_SERVER_ADDRESS", "")
        monkeypatch.setattr(subprocess, "call", child)
        with monkeypatch.context() as windows:
            windows.setattr(os, "name", "nt")
            with pytest.raises(SystemExit) as ended:
                listen_on("127.0.0.2")
        assert ended.value.code == 7
        options["server.address"] = "127.0.0.2"
        listen_on("127.0.0.2")  # in the child
