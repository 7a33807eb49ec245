"""Write constraints.txt from the installed packages, and locks/ with hashes for the images.

constraints.txt is for `make install`, where each machine may choose its build of torch, mirror or
folder of wheels; pip checks hashes for all packages or for none. The container images only choose
torch, so they check hashes: locks/backend.txt and locks/ui.txt contain the hash of every wheel for
every platform. locks/backend-without-torch.txt is for torch from another index with other hashes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEADER = "# Exact versions of everything that `make install` can bring, written by `make lock`.\n"
LOCK_HEADER = "# Every wheel that {} can take, by its hash; written by `make lock`.\n"
UNPINNED = {"pip", "setuptools", "wheel", "text2image"}
IMAGES = {"backend": ("backend", "openvino"), "ui": ("ui", "postgres")}
# Torch, and what only its build for CUDA brings.
TORCH = re.compile(r"(torch|triton|cuda-\w+|nvidia-(?!ml-py)[\w-]+)==")


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


def lock(extras: tuple[str, ...]) -> str:
    """Requirements with hashes for the project with these extras, in the versions of the pins."""
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "pip", "compile", "pyproject.toml", "--constraints", "constraints.txt"]
    command += [word for extra in extras for word in ("--extra", extra)]
    command += ["--python", sys.executable]  # uv would download the one that is resolved for
    command += ["--universal", "--python-version", "3.11", "--only-binary", ":all:"]
    command += ["--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, encoding="utf-8"
    ).stdout


def without_torch(requirements: str) -> str:
    """A lock without torch, which is installed from another index."""
    blocks = re.split(r"^(?=\S)", requirements, flags=re.MULTILINE)
    return "".join(block for block in blocks if not TORCH.match(block))


def main() -> None:
    """Write all of it."""
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(pins()) + "\n", "utf-8")
    write_locks()


def write_locks() -> None:
    """Write locks/ for the pins as they are."""
    folder = ROOT / "locks"
    for image, extras in IMAGES.items():
        requirements = lock(extras)
        header = LOCK_HEADER.format(f"Dockerfile.{image}")
        (folder / f"{image}.txt").write_text(header + requirements, "utf-8")
        if image == "backend":
            rest = header + without_torch(requirements)
            (folder / "backend-without-torch.txt").write_text(rest, "utf-8")


if __name__ == "__main__":
    main()
