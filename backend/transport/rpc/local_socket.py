"""The Unix socket on which our HTTP server and health checks reach the gRPC server."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "text2image-"
NAME = "grpc.sock"


def is_supported() -> bool:
    """Whether grpc has Unix sockets; on Windows it has none, whatever Python's `socket` knows."""
    return sys.platform != "win32"


def new_folder(port: int) -> Path:
    """Create a private folder for the socket; removes those left by killed servers."""
    for left in sockets("*"):
        if not is_listening(left):
            shutil.rmtree(left.parent, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{port}-"))


def sockets(port: int | str) -> Iterator[Path]:
    """Sockets of this user's servers on the port; `*` for any port."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}{port}-*/{NAME}"):
        with contextlib.suppress(OSError):  # removed meanwhile, or another user's
            if path.parent.stat().st_uid == os.getuid():
                yield path


def is_listening(path: Path) -> bool:
    """Whether a server accepts connections on the socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.settimeout(1)
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # busy, or unknown: assume that it is in use
    return True
