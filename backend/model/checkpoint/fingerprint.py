"""A fast content hash of a checkpoint, used as revision of models that don't have a commit."""

from __future__ import annotations

import hashlib
from pathlib import Path

EDGE_BYTES = 1024 * 1024
LENGTH = 12
HASHED = (".safetensors", ".bin", ".ckpt", ".json", ".txt")


def fingerprint(path: Path) -> str:
    """The first `LENGTH` hex digits of a SHA-256 hash over a file or a folder.

    It covers each file's relative name, its size, its first and its last MiB (the first holds
    the table of tensors in safetensors). That takes milliseconds even for gigabytes, but does not
    notice a change in the middle of a large file that keeps its size.

    Raises:
        OSError: a file can't be read.
    """
    digest = hashlib.sha256()
    for file in _files(path):
        name = file.name if file == path else file.relative_to(path).as_posix()
        size = file.stat().st_size
        digest.update(f"{name}\0{size}\0".encode())
        with file.open("rb") as content:
            digest.update(content.read(EDGE_BYTES))
            if size > EDGE_BYTES:
                content.seek(max(EDGE_BYTES, size - EDGE_BYTES))
                digest.update(content.read())
    return digest.hexdigest()[:LENGTH]


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix in HASHED and file.is_file())
