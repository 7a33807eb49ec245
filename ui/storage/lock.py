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
LOCK = "studio.lock"
HOLDER = "studio.json"
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}

_held: dict[Path, FileLock] = {}


class FolderInUse(OSError):
    """Another process uses the data folder; the message is one line that names it."""


def hold(data_dir: Path) -> None:
    """Lock the folder until this process ends or calls `release`; may be called repeatedly.

    Raises:
        FolderInUse: another process holds it.
        OSError: the folder is not writable.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    if data_dir in _held:
        return
    lock = FileLock(
        data_dir / LOCK,
        timeout=0,
        mode=0o600,
        thread_local=False,
        fallback_to_soft=False,
        preserve_lock_file=True,
    )
    try:
        lock.acquire()
    except Timeout:
        raise FolderInUse(f"{data_dir} is in use by {_holder(data_dir)}") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        LOG.warning("%s is on a file system without locks: use it with one studio", data_dir)
        return
    _held[data_dir] = lock
    _say_who(data_dir)


def release(data_dir: Path) -> None:
    """Release the lock before the process ends."""
    lock = _held.pop(data_dir, None)
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


def _say_who(data_dir: Path) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    who = {"process": os.getpid(), "host": socket.gethostname(), "since": since}
    write_whole(data_dir / HOLDER, json.dumps(who).encode(), durable=False)


def _holder(data_dir: Path) -> str:
    try:
        who = json.loads((data_dir / HOLDER).read_bytes())
        return f"process {who['process']} on {who['host']} since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another studio"
