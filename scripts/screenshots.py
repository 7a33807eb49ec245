"""Take screenshots of every page and state in both themes, desktop and phone: `make screenshots`.

Starts a backend with the embedded model and a studio on free ports and writes to `screenshots/`;
with --readme also the pictures of README and docs to `docs/images/`, with --states alone what needs
no backend. The README's example pictures: `python scripts/examples.py`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect, sync_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from scripts.readme_images import write_readme_images  # noqa: E402
from scripts.session_screenshots import SessionShots  # noqa: E402
from scripts.state_screenshots import QUOTA_MB, StateShots  # noqa: E402
from scripts.whole_page import screenshot  # noqa: E402
from tests.e2e.browsing import Visitor, launch_options  # noqa: E402
from tests.e2e.processes import Backend, Studio  # noqa: E402
from tests.support.posed_service import posed_service  # noqa: E402

TARGET = ROOT / "screenshots"
READY_MS = 120_000
WIDE: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
TABLET: dict[str, Any] = {"viewport": {"width": 820, "height": 1180}, "has_touch": True}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
PROMPTS = (
    "a red apple",
    "a green car on a pink background",
    "a birthday cake",
    "cat face",
    "a rocket on a blue background",
    "a purple mushroom",
    "a hamburger on a teal background",
    "a red balloon on a white background",
    "tree",
    "frog",
    "a yellow fish",
    "house",
)
DONE = "a rocket on a blue background"


class Photographer:
    """Takes screenshots as one visitor."""

    def __init__(self, visitor: Visitor, prefix: str) -> None:
        self.visitor = visitor
        self._prefix = prefix

    def take(self, name: str, *, whole: bool = False) -> None:
        self.visitor.page.wait_for_timeout(400)
        path = TARGET / f"{self._prefix}-{name}.png"
        screenshot(self.visitor.page, path, whole=whole)
        print(path.relative_to(ROOT), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readme", action="store_true", help="also write docs/images/")
    parser.add_argument("--states", action="store_true", help="only the rare states: no backend")
    args = parser.parse_args()
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir()
    missed = shoot_states()
    if not args.states:
        shoot_product()
    if args.readme:
        write_readme_images(TARGET)
    print("\n".join(f"MISSED: {what}" for what in missed))
    return bool(missed)


def shoot_states() -> list[str]:
    """What a posing service gets into; returns what could not be reached."""
    options: dict[str, Any] = dict(launch_options())
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as folder, posed_service() as service:
        studio = Studio(Path(folder), service.address, {"TEXT2IMAGE_UI_QUOTA_MB": str(QUOTA_MB)})
        studio.start()
        try:
            studio.wait_ready()
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(**options)
                for name, size in (("wide", WIDE), ("phone", PHONE)):
                    shots = StateShots(browser, studio, service, TARGET)
                    shots.shoot(name, size)
                    missed += shots.missed
                browser.close()
        finally:
            studio.stop()
    return missed


def shoot_product() -> None:
    """The real backend with the embedded model, from the first picture to its outage."""
    options: dict[str, Any] = dict(launch_options())
    with running() as (backend, studio), sync_playwright() as playwright:
        browser = playwright.chromium.launch(**options)
        cookies = fill_gallery(browser, studio)
        for scheme in ("light", "dark"):
            for name, size in (("wide", WIDE), ("tablet", TABLET), ("phone", PHONE)):
                visitor = enter(browser, studio, size, scheme, cookies)
                shoot_pages(Photographer(visitor, f"{name}-{scheme}"))
                visitor.context.close()
            SessionShots(browser, studio, scheme, TARGET).shoot(cookies)
        backend.stop()
        for name, size in (("wide", WIDE), ("phone", PHONE)):
            visitor = enter(browser, studio, size, "light", cookies)
            shoot_outage(Photographer(visitor, f"{name}-light"))
        browser.close()


@contextmanager
def running() -> Iterator[tuple[Backend, Studio]]:
    folder = Path(tempfile.mkdtemp(prefix="inkling-shots-"))
    backend = Backend(folder)
    studio = Studio(folder, backend.address)
    try:
        for process in (backend, studio):
            process.start()
            process.wait_ready()
        yield backend, studio
    finally:
        studio.stop()
        backend.stop()
        shutil.rmtree(folder, ignore_errors=True)


def enter(
    browser: Browser, studio: Studio, size: dict[str, Any], scheme: Any, cookies: Any
) -> Visitor:
    context = browser.new_context(color_scheme=scheme, **size)
    context.add_cookies(cookies)
    return Visitor(context, studio.url)


def fill_gallery(browser: Browser, studio: Studio) -> Any:
    """Generate a dozen pictures; returns the cookies of their owner."""
    visitor = Visitor(browser.new_context(**WIDE), studio.url)
    visitor.open()
    for number, prompt in enumerate(PROMPTS):
        visitor.open(prompt=prompt, seed=number, steps=25)
        visitor.button("Generate").click()
        expect(visitor.picture()).to_have_attribute("alt", prompt, timeout=READY_MS)
    cookies = visitor.context.cookies()
    visitor.context.close()
    return cookies


def shoot_pages(photographer: Photographer) -> None:
    visitor = photographer.visitor
    page = visitor.open(prompt=DONE, seed=PROMPTS.index(DONE), steps=25)
    visitor.button("Generate").click()
    expect(visitor.picture()).to_have_attribute("alt", DONE, timeout=READY_MS)
    page.get_by_role("heading", level=1).scroll_into_view_if_needed()
    photographer.take("studio-done")
    visitor.open(prompt="a red apple", steps=150, n=4)
    visitor.button("Generate").click()
    expect(page.locator(".ink-line").first).to_contain_text("Step", timeout=READY_MS)
    page.wait_for_timeout(1500)
    photographer.take("studio-running")
    visitor.button("Cancel").click()
    expect(page.get_by_text("Nothing was kept")).to_be_visible()
    photographer.take("studio-cancelled")
    visitor.open("/")
    visitor.open_settings()
    photographer.take("studio-settings", whole=True)
    visitor.open("/gallery")
    photographer.take("gallery")
    page.locator("[class*=st-key-open-gallery] button").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    photographer.take("lightbox")
    visitor.open("/gallery", q="nothing like this")
    photographer.take("gallery-nothing")
    visitor.open("/compare")
    photographer.take("compare")
    shoot_grid(photographer)
    visitor.open("/status")
    photographer.take("status", whole=True)
    visitor.open("/about")
    photographer.take("about", whole=True)


def shoot_grid(photographer: Photographer) -> None:
    visitor = photographer.visitor
    page = visitor.open("/compare")
    page.get_by_text("Grid", exact=True).click()
    page.get_by_label("Prompt", exact=True).fill("a red apple")
    page.get_by_label("Across: values", exact=True).fill("4, 10, 25")
    page.get_by_label("Across: values", exact=True).press("Enter")
    visitor.settle()
    visitor.button("Make 3 pictures").click()
    expect(page.get_by_text("3 of 3 pictures")).to_be_visible(timeout=READY_MS)
    photographer.take("compare-grid", whole=True)


def shoot_outage(photographer: Photographer) -> None:
    photographer.visitor.open()
    photographer.take("studio-offline")
    photographer.visitor.open("/status")
    photographer.take("status-offline")


if __name__ == "__main__":
    sys.exit(main())
