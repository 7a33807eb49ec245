"""`python -m backend.cluster up`: the backend with its replicas on Ray, in one command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from backend.__main__ import main as backend

DESCRIPTION = """Serve with replicas on a Ray cluster: the one at $RAY_ADDRESS, or one that is
started on this machine. All settings of the backend apply: TEXT2IMAGE_…"""


def main(arguments: Sequence[str]) -> int:
    """Run the backend so; the exit code is the backend's."""
    parser = argparse.ArgumentParser(prog="python -m backend.cluster", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    up = commands.add_parser("up", help="serve until Ctrl-C")
    up.add_argument("--replicas", type=int, metavar="N", help="at least so many engines")
    up.add_argument("--max-replicas", type=int, metavar="N", help="at most; default: as --replicas")
    wanted = parser.parse_args(arguments)
    os.environ["TEXT2IMAGE_BACKEND"] = "ray"
    for name in ("replicas", "max_replicas"):
        if (number := getattr(wanted, name)) is not None:
            os.environ[f"TEXT2IMAGE_{name.upper()}"] = str(number)
    return backend([])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
