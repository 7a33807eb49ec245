"""`python -m backend.transport.health`: exits 0 if the server on TEXT2IMAGE_PORT is alive.

For container health checks. Uses the server's Unix socket, so it works with any TLS settings.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from backend.transport.rpc.local_socket import sockets

TIMEOUT_S = 4.0


def is_alive(port: int | str) -> bool:
    """Whether our server on this port answers a health check."""
    return any(_answers(f"unix:{path}") for path in sockets(port))


def _answers(target: str) -> bool:
    with grpc.insecure_channel(target) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(not is_alive(os.environ.get("TEXT2IMAGE_PORT", "50051")))
