"""Ensures one studio per data folder, with a file lock that is freed when the process ends.

On NFS the server frees it some seconds after a client's crash. On a file system without locks the
studio works without one: it never deletes on a guess, and jobs have leases.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from ui.storage.whole import write_whole

LOG = logging.getLogger("inkling.storage")
STUDIO = "studio"  # studio.lock, and studio.json that says who holds it
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}

_held: dict[Path, FileLock] = {}


class FolderInUse(OSError):
    """Another process uses the data folder; the message is one line that names it."""


def hold(folder: Path, name: str = STUDIO) -> None:
    """Lock the folder until this process ends or calls `release`; may be called repeatedly.

    Another `name` is that of a file in the folder, which alone is locked.

    Raises:
        FolderInUse: another process holds it.
        OSError: the folder is not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if folder / name in _held:
        return
    lock = FileLock(
        folder / f"{name}.lock",
        timeout=0,
        mode=0o600,
        thread_local=False,
        fallback_to_soft=False,
        preserve_lock_file=True,
    )
    try:
        lock.acquire()
    except Timeout:
        locked = folder if name == STUDIO else folder / name
        raise FolderInUse(f"{locked} is in use by {_holder(folder, name)}") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        LOG.warning("%s is on a file system without locks: use it with one studio", folder)
        return
    _held[folder / name] = lock
    _say_who(folder, name)


def release(folder: Path, name: str = STUDIO) -> None:
    """Release the lock before the process ends."""
    lock = _held.pop(folder / name, None)
    if lock is not None:
        lock.release()


@contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Hold the lock during a `with` block.

    Raises:
        FolderInUse, OSError: like `hold`.
    """
    hold(data_dir)
    try:
        yield
    finally:
        release(data_dir)


def _say_who(folder: Path, name: str) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    who = {"process": os.getpid(), "host": socket.gethostname(), "since": since}
    write_whole(folder / f"{name}.json", json.dumps(who).encode(), durable=False)


def _holder(folder: Path, name: str) -> str:
    try:
        who = json.loads((folder / f"{name}.json").read_bytes())
        return f"process {who['process']} on {who['host']} since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another studio"
