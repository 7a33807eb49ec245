"""Stopping the studio while it works leaves nothing inconsistent."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.browsing import Visitor
from tests.e2e.processes import Studio
from tests.support.fake_service import FakeService


@pytest.fixture
def service() -> Iterator[FakeService]:
    with FakeService() as fake:
        fake.hang_at_step = 2
        yield fake


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_studio_notes_what_it_cut_off(
    service: FakeService, browser: Browser, tmp_path: Path, how: signal.Signals
) -> None:
    tmp_path = tmp_path / "what?x=1 a%20b"  # must not be read as parts of an address
    tmp_path.mkdir()
    studio = Studio(tmp_path, service.address)
    studio.start()
    studio.wait_ready()
    visitor = Visitor(browser.new_context(), studio.url)
    visitor.open("/", prompt="a red cat")
    visitor.button("Generate").click()
    expect(visitor.progress()).to_be_visible()
    assert states(tmp_path) == ["open"]
    studio.stop(how)
    visitor.context.close()
    assert states(tmp_path) == ["interrupted"]
    assert service.wait_cancelled()


def states(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "gallery.db") as connection:
        return [state for (state,) in connection.execute("SELECT state FROM jobs")]
