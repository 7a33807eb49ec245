"""Windows starts the studio's second process beside the first, which must free the port."""

from __future__ import annotations

import socket

from ui.listeners import close_listeners


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
