"""A TCP relay that can go silent: connections stay open, and nothing passes any more."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self


class Relay:
    """Passes bytes between clients and a port of 127.0.0.1 until `silence()`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open = threading.Event()
        self._open.set()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def silence(self) -> None:
        """Swallow everything from now on, as a network does that went away."""
        self._open.clear()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each in (self._listener, *self._sockets):
            with suppress(OSError):  # not connected any more
                each.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            far = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):  # either end is gone
            while data := source.recv(65536):
                if self._open.is_set():
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
