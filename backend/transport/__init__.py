"""The servers: gRPC, and JSON over HTTP before it."""

import os

# Read when grpc is imported: what its core would print, we say ourselves.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
