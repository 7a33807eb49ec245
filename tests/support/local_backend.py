"""A LocalBackend to ask, without any server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from backend.domain import Event
from backend.draft import Draft
from backend.engine.backend import LocalBackend
from backend.engine.loading import Load
from backend.engine.protocols import Backend
from tests.support.fakes import (
    FakeModel,
    fake_draft,
    loads,
    settings,
)


@asynccontextmanager
async def serving(
    model: FakeModel | None = None, load: Load | None = None, **changes: Any
) -> AsyncIterator[LocalBackend]:
    """A backend that has been started; gates are opened at the end."""
    model = model or FakeModel()
    backend = LocalBackend(settings(**changes), load or loads(model), "1.0")
    await backend.start()
    try:
        yield backend
    finally:
        if model.gate is not None:
            model.gate.open()
        await backend.stop()


def ask(
    backend: Backend,
    draft: Draft | None = None,
    client: str = "me",
    deadline_s: float | None = None,
) -> AsyncGenerator[Event, None]:
    return backend.submit(draft or fake_draft(), client=client, deadline_s=deadline_s)


async def answer(*args: Any, **kwargs: Any) -> list[Event]:
    async with asyncio.timeout(20):
        return [event async for event in ask(*args, **kwargs)]


async def first_event(events: AsyncGenerator[Event, None]) -> Event:
    async with asyncio.timeout(20):
        return await anext(events)


def assert_balanced(backend: Backend) -> None:
    status = backend.status()
    counted = status.counters
    ended = counted.completed + counted.failed + counted.cancelled + counted.rejected
    assert counted.received == ended + status.queued + status.running
