"""`python -m text2image`, and the command `text2image` if the library is installed."""

from __future__ import annotations

import os
import sys


def run() -> int:
    """Run the command line on this process's arguments."""
    # gRPC reads it while it is imported; what its core would log, our errors say.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from text2image.cli.main import main

    return main()


if __name__ == "__main__":
    sys.exit(run())
