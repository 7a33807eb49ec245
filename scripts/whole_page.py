"""A screenshot of a whole page, also where it scrolls inside of the window, as Streamlit's do."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

HEIGHT = "document.querySelector('[data-testid=stMain]')?.scrollHeight ?? 0"
MOST = 6000  # pixels


def screenshot(page: Page, path: Path, *, whole: bool = False) -> None:
    """What the window shows, or with `whole` all that one can scroll to."""
    window = page.viewport_size
    height: int = page.evaluate(HEIGHT) if whole else 0
    if window is not None and height > window["height"]:
        page.set_viewport_size({"width": window["width"], "height": min(height, MOST)})
        page.wait_for_timeout(300)
    page.screenshot(path=path, full_page=whole)
    if window is not None:
        page.set_viewport_size(window)
