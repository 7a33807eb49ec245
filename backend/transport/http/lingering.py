"""Streams that continue for a while after their reader disconnected, so that it can rejoin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

_END = object()


class Lingering:
    """Runs streams that may lose their reader. Used on the event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Cancel all streams."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def outlive(self, messages: AsyncGenerator[Any], grace_s: float) -> AsyncGenerator[Any]:
        """The messages; if the reader leaves, the stream continues for `grace_s` seconds.

        It ends immediately if the reader has not received any message, since it can't rejoin then.
        """
        queue: asyncio.Queue[Any] = asyncio.Queue(1)
        gone = asyncio.Event()
        task = asyncio.create_task(_read(messages, queue, gone))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        grace = 0.0
        try:
            while (item := await queue.get()) is not _END:
                if isinstance(item, Exception):
                    raise item
                grace = grace_s
                yield item
        finally:
            gone.set()
            if not queue.empty():
                queue.get_nowait()  # the task may be waiting for a free place
            asyncio.get_running_loop().call_later(grace, task.cancel)


async def _read(
    messages: AsyncGenerator[Any], queue: asyncio.Queue[Any], gone: asyncio.Event
) -> None:
    end: Any = _END
    try:
        async with aclosing(messages):
            async for message in messages:
                if not gone.is_set():
                    await queue.put(message)
    except Exception as error:
        end = error
    if not gone.is_set():
        await queue.put(end)
