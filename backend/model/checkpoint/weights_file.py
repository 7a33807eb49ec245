"""Checks a weights file before loading: is it complete, and what does it contain?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from backend.errors import ModelFailed

Shapes = Mapping[str, tuple[int, ...]]  # tensor name: shape

SAFETENSORS = ".safetensors"
MAX_HEADER_BYTES = 100 * 2**20  # same limit as safetensors
# Other contents by their first bytes, with the error text.
OTHER_CONTENTS = {
    b"version https://git-lfs": (
        "It is a Git LFS pointer, not the weights themselves: "
        "run `git lfs pull` where it was cloned, or download the file anew."
    ),
    b"<": "It is a web page that was saved under this name: download the file itself.",
    b"GGUF": "It is a GGUF file, which isn't supported: use a .safetensors file.",
}
PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04")


def check_content(path: Path) -> None:
    """Refuse a file that does not contain weights.

    Raises:
        ModelFailed: it is empty, a Git LFS pointer, a web page, …; the text says what to do.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        start = file.read(32).lstrip()
    if not start:
        raise ModelFailed("It is empty: download it anew.")
    for beginning, sentence in OTHER_CONTENTS.items():
        if start.startswith(beginning):
            raise ModelFailed(sentence)


class Table(NamedTuple):
    """What stands in front of a safetensors file: shapes by name, and what it says of itself."""

    shapes: Shapes
    metadata: Mapping[str, str]


def read_shapes(path: Path) -> Shapes:
    """Names and shapes of the tensors; see `read_table`."""
    return read_table(path).shapes


def read_table(path: Path, max_header_bytes: int = MAX_HEADER_BYTES) -> Table:
    """The header of a safetensors file; reads no weights.

    Raises:
        ModelFailed: it is not a safetensors file, or truncated; the text says what to do.
        OSError: it can't be read.
    """
    check_content(path)
    num_bytes = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if start.startswith(PICKLES):
            raise ModelFailed(
                "It is a pickle under the name of a .safetensors file: "
                "rename it to .ckpt, and set ALLOW_PICKLE=1 if you trust it."
            )
        if len(start) < 8 or length > max_header_bytes:
            raise ModelFailed("It is no safetensors file: download it anew.")
        table = file.read(length)
    if len(table) < length:
        raise _truncated(num_bytes, 8 + length)
    try:
        tensors: dict[str, Any] = json.loads(table)
        metadata = dict(tensors.pop("__metadata__", None) or {})
        end = max((one["data_offsets"][1] for one in tensors.values()), default=0)
        shapes = {name: tuple(int(n) for n in one["shape"]) for name, one in tensors.items()}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise ModelFailed("It is no safetensors file: its table can't be read.") from None
    if num_bytes < 8 + length + end:
        raise _truncated(num_bytes, 8 + length + end)
    return Table(shapes, metadata)


def _truncated(there: int, expected: int) -> ModelFailed:
    return ModelFailed(
        f"Its download was cut short: {there:,} of {expected:,} bytes are there. Download it anew."
    )
