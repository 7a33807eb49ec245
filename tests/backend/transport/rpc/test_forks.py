"""Children of the backend's process: gRPC must not work in them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
SCRIPT = """
import asyncio, os, subprocess, sys
from backend.transport.rpc import server
import grpc

def tell() -> None:
    os.write(1, str(len(os.listdir("/proc/self/task"))).encode())

async def main() -> None:
    running = grpc.aio.server()
    running.add_insecure_port("127.0.0.1:0")
    await running.start()
    command = [sys.executable, "-S", "-c", ""]
    await asyncio.to_thread(subprocess.run, command, preexec_fn=tell, check=True)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_child_starts_without_threads_of_grpc() -> None:
    """With them some children crashed before they began."""
    changed = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(
        command, cwd=ROOT, env=changed, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "1"), done.stderr
