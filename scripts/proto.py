"""Generate the modules of proto/, or check that they are up to date."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parent.parent
CONTRACT = "proto/text2image.proto"
GENERATED = ("text2image_pb2.py", "text2image_pb2.pyi", "text2image_pb2_grpc.py")


def generate(out: Path) -> None:
    """Write the generated modules below `out`, importable as `proto.…`."""
    outputs = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main(["protoc", f"-I{ROOT}", *outputs, str(ROOT / CONTRACT)]):
        sys.exit(f"protoc refused {CONTRACT}")


def stale() -> list[str]:
    """Names of committed modules that differ from newly generated ones."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = Path(folder) / "proto"
        return [
            name
            for name in GENERATED
            if (ROOT / "proto" / name).read_bytes() != (fresh / name).read_bytes()
        ]


def main(argv: list[str]) -> int:
    if "--check" not in argv:
        generate(ROOT)
        return 0
    names = stale()
    if names:
        print(f"Not what {CONTRACT} generates: {', '.join(names)}. Run `make proto`.")
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
