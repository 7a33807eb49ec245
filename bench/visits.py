"""How soon the studio can be used: on a first visit, and on a second one beside a bare page."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext

from tests.e2e.browsing import Visitor
from tests.e2e.first_visit import MAX_BYTES, MAX_REQUESTS, first_visit
from tests.e2e.processes import Process, Studio, wait_healthy
from tests.support.ports import free_port

SECOND_VISITS = 5
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
BARE = 'import streamlit as st\nst.text_area("Prompt")\n'


@dataclass(frozen=True, slots=True)
class Measure:
    """One number and its budget; smaller is better."""

    name: str
    value: float
    budget: float
    unit: str

    @property
    def is_met(self) -> bool:
        return self.value <= self.budget


class BarePage(Process):
    """Streamlit with one text box and nothing of ours: as soon as a studio on it can be."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        script = folder / "bare.py"
        script.write_text(BARE, encoding="utf-8")
        command = [sys.executable, "-m", "streamlit", "run", str(script)]
        options = {"STREAMLIT_SERVER_PORT": str(port), "STREAMLIT_SERVER_HEADLESS": "true"}
        super().__init__(command, options, folder / "bare.log")

    def wait_ready(self) -> None:
        wait_healthy(self, self.url)


def measure_first_visit(browser: Browser, studio: Studio) -> list[Measure]:
    """Of the second new browser: the first one finds the studio's files not packed yet."""
    for _ in range(2):
        context = browser.new_context(reduced_motion="reduce")
        visit = first_visit(Visitor(context, studio.url))
        context.close()
    return [
        Measure("first visit, on the wire", visit.num_bytes / 1e6, MAX_BYTES / 1e6, "MB"),
        Measure("first visit, requests", visit.requests, MAX_REQUESTS, ""),
        Measure("first visit until the prompt is usable", visit.usable_s, 2.0, "s"),
    ]


def measure_second_visit(browser: Browser, studio: Studio) -> list[Measure]:
    """The studio and a bare page in turn, so that a busy machine slows both alike."""
    with tempfile.TemporaryDirectory() as folder:
        bare = BarePage(Path(folder))
        bare.start()
        try:
            bare.wait_ready()
            context = browser.new_context(reduced_motion="reduce")
            pairs = [
                (_visit(context, studio.url), _visit(context, bare.url))
                for _ in range(1 + SECOND_VISITS)
            ]
            context.close()
        finally:
            bare.stop()
    ours, others = zip(*pairs[1:], strict=True)  # the first of each fills the browser's cache
    paint, usable = _medians(ours)
    bare_paint, bare_usable = _medians(others)
    return [
        Measure("second visit until the prompt is usable", usable, 2.0, "s"),
        Measure("the same, times a bare Streamlit page's", usable / bare_usable, 2.0, ""),
        Measure("second visit until the first paint", paint, 1.0, "s"),
        Measure("the same, times a bare Streamlit page's", paint / bare_paint, 1.5, ""),
    ]


def _visit(context: BrowserContext, url: str) -> tuple[float, float]:
    """Seconds until the first paint, and until one can write a prompt, in a new tab."""
    page = context.new_page()
    started = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.get_by_label("Prompt", exact=True).fill("a")
    usable_s = time.perf_counter() - started
    painted_ms: float = page.evaluate(FIRST_PAINT)
    page.close()
    return painted_ms / 1000, usable_s


def _medians(visits: Sequence[tuple[float, float]]) -> tuple[float, float]:
    paints, usables = zip(*visits, strict=True)
    return statistics.median(paints), statistics.median(usables)
