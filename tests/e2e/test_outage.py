"""The backend dies and comes back while somebody is at work."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Enter
from tests.e2e.processes import Backend
from tests.e2e.test_making import READY_MS, start_long


@pytest.fixture
def killable(backend: Backend) -> Iterator[Backend]:
    """The backend that all tests share: it serves them again whatever becomes of this one."""
    yield backend
    if not backend.is_alive:
        backend.start()
        backend.wait_ready()


def test_a_killed_backend_is_said_within_seconds_and_its_return_is_noticed(
    enter: Enter, killable: Backend
) -> None:
    visitor = enter()
    start_long(visitor, "a purple mushroom")
    killable.stop(signal.SIGKILL)
    killed = time.monotonic()
    expect(visitor.page.get_by_text("The image server went away").first).to_be_visible()
    assert time.monotonic() - killed < 25
    expect(visitor.page.locator(".ink-chip")).to_contain_text("Offline")
    expect(visitor.page.get_by_label("Prompt", exact=True)).to_have_value("a purple mushroom")
    visitor.go("Gallery")
    visitor.go("Status")
    expect(visitor.page.get_by_text("Unreachable")).to_be_visible()
    killable.start()
    killable.wait_ready()
    expect(visitor.page.locator(".ink-chip")).to_contain_text("Ready", timeout=READY_MS)
    visitor.go("Studio")
    # It starts over by itself.
    expect(visitor.page.locator(".ink-line")).to_contain_text("Step", timeout=READY_MS)
    visitor.button("Cancel").click()
    expect(visitor.page.get_by_text("Nothing was kept")).to_be_visible()
