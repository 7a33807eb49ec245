"""One backend, one studio and one browser for all tests; each test is a visitor of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.e2e.browsing import Visitor, launch_options
from tests.e2e.processes import Backend, Studio


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="package")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    made = Backend(tmp_path_factory.mktemp("backend"))
    made.start()
    made.wait_ready()
    yield made
    made.stop()


@pytest.fixture(scope="package")
def studio(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    made = Studio(tmp_path_factory.mktemp("studio"), backend.address)
    made.start()
    made.wait_ready()
    yield made
    made.stop()


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """One for all tests: a thread can't run two."""
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    options: dict[str, Any] = dict(launch_options())
    launched = playwright.chromium.launch(**options)
    yield launched
    launched.close()


Enter = Callable[..., Visitor]


@pytest.fixture
def enter(browser: Browser, studio: Studio) -> Iterator[Enter]:
    """Lets visitors in; afterwards none of them may have met an error or a foreign address."""
    visitors: list[Visitor] = []

    def let_in(url: str | None = None, **options: Any) -> Visitor:
        options.setdefault("reduced_motion", "reduce")  # smooth motion costs the backend its CPU
        options.setdefault("viewport", {"width": 1280, "height": 860})
        visitors.append(Visitor(browser.new_context(**options), url or studio.url))
        return visitors[-1]

    yield let_in
    complaints = [complaint for visitor in visitors for complaint in visitor.complaints]
    for visitor in visitors:
        visitor.context.close()
    assert complaints == []
