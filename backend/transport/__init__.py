"""The servers: gRPC, and HTTP in front of it."""

import os

# grpc reads these at import. Its core would print errors that we log ourselves.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# Else a child of this process starts gRPC's threads before it becomes its own program, and some
# crash: Ray's processes are such children.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
