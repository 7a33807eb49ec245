"""Connections that do nothing, or little: `python -m tests.support.many_connections PORT IDLE SLOW
SECONDS`, a process of its own with file descriptors of its own.

Idle ones send nothing. Slow ones send a byte of a request's headers every half second. Whichever
the server ends is opened again after a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys

AWAY_S = 6.0
SLOW_REQUEST = b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"x" * 1000


async def idle(port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await reader.read()
            writer.close()
        await asyncio.sleep(AWAY_S)


async def slow(port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            for byte in SLOW_REQUEST:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.5)
        await asyncio.sleep(AWAY_S)


async def main(port: int, num_idle: int, num_slow: int, seconds: float) -> None:
    """Hold them for so many seconds."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    work = [idle(port) for _ in range(num_idle)] + [slow(port) for _ in range(num_slow)]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*work), seconds)


if __name__ == "__main__":
    port, num_idle, num_slow = map(int, sys.argv[1:4])
    asyncio.run(main(port, num_idle, num_slow, float(sys.argv[4])))
