"""Measures the studio's performance against budgets: `python -m bench.bench_ui`.

Measures script runs without a browser, then a real studio and Chromium with the real backend and
the embedded model; prints one line per budget and exits with 1 if one is exceeded.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import streamlit as st
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sqlalchemy import insert, select
from streamlit.runtime.context import ContextProxy
from streamlit.testing.v1 import AppTest

from bench.visits import Measure, measure_first_visit, measure_second_visit
from tests.e2e.browsing import Visitor, launch_options
from tests.e2e.processes import ROOT, Backend, Studio
from tests.support.fake_service import FakeService
from tests.ui.conftest import png
from ui import connection
from ui.connection import services
from ui.recipe import Recipe
from ui.storage.schema import PICTURES

RUNS = 30
OWNER = "s-bench"
SESSIONS = 40
QUIET_MS = 5000
MANY = 10_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scripts-only", action="store_true", help="leave the browser out")
    parser.add_argument("--output", type=Path, help="also write the numbers as JSON")
    args = parser.parse_args()
    measures = measure_scripts()
    if not args.scripts_only:
        measures += measure_browser()
    for measure in measures:
        mark = "ok    " if measure.is_met else "MISSED"
        print(f"{mark} {measure.name:44} {measure.value:9.2f} of {measure.budget:g} {measure.unit}")
    if args.output:
        args.output.write_text(
            json.dumps([asdict(measure) for measure in measures], indent=2), encoding="utf-8"
        )
    return 0 if all(measure.is_met for measure in measures) else 1


def measure_scripts() -> list[Measure]:
    """Measure script runs without browser: what the server computes for one click."""
    ContextProxy.cookies = property(lambda _self: {})  # type: ignore[assignment,method-assign]
    with tempfile.TemporaryDirectory() as folder, FakeService() as service:
        os.environ["TEXT2IMAGE_DATA_DIR"] = folder
        os.environ["TEXT2IMAGE_ADDRESS"] = service.address
        try:
            return _measure_pages()
        finally:
            connection.close()
            st.cache_resource.clear()


def _measure_pages() -> list[Measure]:
    app = AppTest.from_file(str(ROOT / "ui" / "app.py"), default_timeout=60)
    app.session_state["_anonymous"] = OWNER.removeprefix("s-")
    app.run()
    found = [Measure("studio, full run, p95", _p95(app), 100, "ms")]
    for number in range(24):
        services().gallery.add(
            OWNER, png(), Recipe(f"cat {number}", width=64, height=64, seed=number)
        )
    app.switch_page("app_pages/gallery.py").run()
    few = _p95(app)
    found.append(Measure("gallery of 24, full run, p95", few, 60, "ms"))
    _add_rows(MANY)
    app.run()
    found.append(Measure("gallery of 10,000, full run, p95", _p95(app), max(60, few * 1.25), "ms"))
    return found


def _p95(app: AppTest) -> float:
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        app.run()
        times.append((time.perf_counter() - began) * 1000)
    assert not app.exception
    return sorted(times)[int(RUNS * 0.95)]


def _add_rows(number: int) -> None:
    """Add rows without files, since paging never opens a file."""
    with services().engine.begin() as opened:
        row = dict(opened.execute(select(PICTURES).limit(1)).mappings().one())
        rows = [row | {"id": f"{n:032}", "created_at": n, "prompt": f"p{n}"} for n in range(number)]
        opened.execute(insert(PICTURES), rows)


def measure_browser() -> list[Measure]:
    """Measure with a browser: time from click to screen, traffic, memory."""
    options: dict[str, Any] = dict(launch_options())
    folder = Path(tempfile.mkdtemp(prefix="inkling-bench-"))
    backend = Backend(folder)
    studio = Studio(folder, backend.address)
    try:
        for process in (backend, studio):
            process.start()
            process.wait_ready()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(**options)
            found = [
                *measure_first_visit(browser, studio),
                *measure_second_visit(browser, studio),
                *_measure_making(browser, studio),
                _measure_sessions(browser, studio),
            ]
            browser.close()
        return found
    finally:
        studio.stop()
        backend.stop()


def _measure_making(browser: Browser, studio: Studio) -> list[Measure]:
    visitor = Visitor(browser.new_context(reduced_motion="reduce"), studio.url)
    page = visitor.open()
    visitor.generate("a red apple")  # the first one warms everything
    expect(visitor.picture()).to_be_visible(timeout=120_000)
    visitor.open(prompt="a blue car", steps=150)  # with fewer the picture may come first
    preview = _seconds(visitor.button("Generate").click, page, ".ink-forming")
    expect(visitor.picture()).to_have_attribute("alt", "a blue car", timeout=120_000)
    visitor.go("Gallery")
    card = page.locator("[class*=st-key-open-gallery] button").first
    card.hover()
    lightbox = _seconds(card.click, page, "[role=dialog] img.ink-picture")
    frames: list[object] = []
    visitor = Visitor(visitor.context, studio.url)
    visitor.page.on(
        "websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(frame))
    )
    visitor.open()
    visitor.page.wait_for_timeout(2000)
    frames.clear()
    visitor.page.wait_for_timeout(QUIET_MS)
    return [
        Measure("Generate to first preview", preview, 1.5, "s"),
        Measure("click to lightbox", lightbox, 0.7, "s"),
        Measure("messages to a quiet page", len(frames), 0, f"in {QUIET_MS / 1000:g} s"),
    ]


def _seconds(act: Callable[[], object], page: Page, selector: str) -> float:
    started = time.perf_counter()
    act()
    page.wait_for_selector(selector, timeout=60_000)
    return time.perf_counter() - started


def _measure_sessions(browser: Browser, studio: Studio) -> Measure:
    """Additional memory of the studio with forty open pages compared with one."""
    process = psutil.Process(studio.pid)
    contexts = [browser.new_context(reduced_motion="reduce")]
    Visitor(contexts[0], studio.url).open()
    before = process.memory_info().rss
    for _ in range(SESSIONS - 1):
        contexts.append(browser.new_context(reduced_motion="reduce"))
        Visitor(contexts[-1], studio.url).open()
    grown = process.memory_info().rss - before
    for context in contexts:
        context.close()
    return Measure(f"memory for {SESSIONS} open pages", grown / 2**20, 10, "MB")


if __name__ == "__main__":
    sys.exit(main())
