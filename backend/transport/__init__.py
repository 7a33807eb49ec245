"""The servers: gRPC, and HTTP in front of it."""

import os

# grpc reads this at import. Its core would print errors that we log ourselves.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
