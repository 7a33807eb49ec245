"""How many bytes of weights a checkpoint has on disk: a guess of its memory before it is read."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from backend.model.checkpoint.hub import WEIGHTS, cached_folder, needed
from backend.model.checkpoint.source import Kind, Source


def bytes_on_disk(source: Source, *, half: bool, allow_pickle: bool) -> int:
    """Bytes of the weight files that loading `source` reads; 0 if they are not on this machine."""
    with suppress(OSError):
        if source.kind is Kind.FILE:
            return Path(source.location).stat().st_size
        folder: Path | None = Path(source.location)
        if source.kind is Kind.HUB:
            folder = cached_folder(source.location, source.revision)
        if folder is not None:
            files = [path.relative_to(folder).as_posix() for path in folder.glob("*/*")]
            chosen = needed(files, half=half, allow_pickle=allow_pickle)
            return sum((folder / name).stat().st_size for name in chosen if name.endswith(WEIGHTS))
    return 0
