"""`make bench-sessions`, small: ten guests against the real backend with the embedded model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.session_figures import Load
from bench.session_visit import visit
from tests.e2e.conftest import Enter
from tests.e2e.processes import Studio

# All thirty pictures take 13 s: who came seconds earlier would wait less, however fair the queue.
LOAD = Load(guests=10, pictures=3, idle=20, leaving=2, burst_s=0.1, timeout_s=300)


@pytest.mark.alone
def test_ten_guests_get_their_pictures_alike(enter: Enter, studio: Studio) -> None:
    host = enter()
    page = host.open("/sessions")
    page.get_by_text("What the pictures are made with").click()
    page.get_by_role("spinbutton", name="Steps").fill("1")
    host.button("Start the session").click()
    code = page.locator(".ink-join strong").inner_text().replace("-", "")
    page.close()
    with ThreadPoolExecutor(1) as thread:  # Playwright's loop runs in this one
        measured = thread.submit(visit, studio.url, code, LOAD, studio.pid).result()
    assert measured.problems(LOAD) == []
