"""One HTTP front for all of a module's tests, which leave the service as they found it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio

from tests.support.fake_answers import ready_status
from tests.support.fake_service import FakeService
from tests.support.http_front import front


@pytest.fixture(scope="module")
def running() -> Iterator[FakeService]:
    with FakeService() as service:
        yield service


@pytest.fixture
def service(running: FakeService) -> FakeService:
    running.requests.clear()
    running.upscaled.clear()
    running.status = ready_status()
    running.failure, running.nsfw = None, ()
    return running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(running: FakeService) -> AsyncIterator[httpx.AsyncClient]:
    async with front(running) as client:
        yield client


@pytest.fixture
def http(shared: httpx.AsyncClient, service: FakeService) -> httpx.AsyncClient:
    return shared
