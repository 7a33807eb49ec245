"""The Unix socket on which the HTTP front and health checks reach a gRPC server without TLS."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "text2image-"
NAME = "grpc.sock"


def new_folder(port: int) -> Path:
    """A folder that only we can enter; those of servers that were killed go."""
    for left in sockets("*"):
        if not is_listening(left):
            shutil.rmtree(left.parent, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{port}-"))


def sockets(port: int | str) -> Iterator[Path]:
    """Sockets of our own servers on that port."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}{port}-*/{NAME}"):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            if path.parent.stat().st_uid == os.getuid():
                yield path


def is_listening(path: Path) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.settimeout(1)
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # busy, or not ours to say
    return True
