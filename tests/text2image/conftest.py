"""A fake service, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from client import Text2ImageClient
from tests.support.fake_service import FakeService


@pytest.fixture
def service() -> Iterator[FakeService]:
    with FakeService() as service:
        yield service


@pytest.fixture
def client(service: FakeService) -> Iterator[Text2ImageClient]:
    with Text2ImageClient(service.address) as client:
        yield client
