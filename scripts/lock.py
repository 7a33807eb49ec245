"""Write constraints.txt: the exact versions of what is installed, without local versions."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

HEADER = "# Exact versions of everything that `make install` can bring, written by `make lock`.\n"
# Of atheris, each version has wheels for some versions of Python alone.
UNPINNED = {"atheris", "pip", "setuptools", "wheel", "text2image"}


def pins() -> list[str]:
    """`name==version` of every installed distribution; `2.13.0+cpu` is written as `2.13.0`."""
    versions = {
        str(found.metadata["Name"]): found.version.partition("+")[0]
        for found in metadata.distributions()
    }
    return [
        f"{name}=={versions[name]}"
        for name in sorted(versions, key=str.lower)
        if name.lower() not in UNPINNED
    ]


if __name__ == "__main__":
    path = Path(__file__).parent.parent / "constraints.txt"
    path.write_text(HEADER + "\n".join(pins()) + "\n", "utf-8")
