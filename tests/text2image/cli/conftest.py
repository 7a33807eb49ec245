"""The command line's surroundings: a service that it finds, and an empty folder."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_service import FakeService
from text2image import stream


@pytest.fixture
def found(service: FakeService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The service is where TEXT2IMAGE_ADDRESS says, and commands run in an empty folder."""
    monkeypatch.setattr(stream, "BACKOFFS_S", ())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEXT2IMAGE_ADDRESS", service.address)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)
