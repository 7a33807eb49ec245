"""Screenshots of what is rare: states that only a service which does as it is told gets into."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, expect
from playwright.sync_api import Error as PlaywrightError

from scripts.whole_page import screenshot
from tests.e2e.browsing import Visitor
from tests.e2e.processes import Studio
from tests.support.fake_service import FakeService
from tests.support.posed_service import FAILURES, add_replicas, changed, large_picture

QUOTA_MB = 1
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
READY_MS = 60_000


class StateShots:
    """The states, as one new visitor for each size and theme sees them."""

    def __init__(
        self, browser: Browser, studio: Studio, service: FakeService, folder: Path
    ) -> None:
        self._browser, self._studio, self._service = browser, studio, service
        self._folder = folder
        self._prefix = ""
        self.missed: list[str] = []

    def shoot(self, name: str, size: dict[str, Any]) -> None:
        """All states once; the visitor's gallery fills up on the way."""
        self._prefix = name
        context = self._browser.new_context(reduced_motion="reduce", **size)
        visitor = Visitor(context, self._studio.url)
        for states in (
            self._before_pictures,
            self._under_way,
            self._failures,
            self._gallery,
            self._mask,
            self._quota,
            self._status,
        ):
            try:
                states(visitor)
            except (AssertionError, PlaywrightError) as error:  # the others are taken nevertheless
                self.missed.append(f"{name}: {states.__name__}: {str(error)[:300]}")
        context.close()

    def _before_pictures(self, visitor: Visitor) -> None:
        visitor.open()
        self._take(visitor, "studio-empty")
        visitor.open("/gallery")
        self._take(visitor, "gallery-none")
        visitor.open("/compare")
        self._take(visitor, "compare-none")
        visitor.open("/somewhere")
        self._take(visitor, "unknown-address")

    def _under_way(self, visitor: Visitor) -> None:
        service = self._service
        with changed(service, queue=[3], queue_s=8.0):
            visitor.open(prompt="a red apple", steps=8)
            visitor.button("Generate").click()
            expect(visitor.page.locator(".ink-line").first).to_contain_text(
                "ahead", timeout=READY_MS
            )
            self._take(visitor, "studio-queued")
            visitor.button("Cancel").click()
        with changed(service, step_s=0.3, hang_at_step=6):
            visitor.open(prompt="a red apple", steps=20)
            visitor.button("Generate").click()
            expect(visitor.page.locator(".ink-forming")).to_be_visible(timeout=READY_MS)
            visitor.page.wait_for_timeout(2000)
            self._take(visitor, "studio-previews")
            visitor.button("Cancel").click()

    def _failures(self, visitor: Visitor) -> None:
        for name, failure in FAILURES.items():
            with changed(self._service, failure=failure):
                visitor.open(prompt=f"a red apple, {name}", steps=8)
                visitor.button("Generate").click()
                expect(visitor.page.locator(".ink-failure, [role=alert]").first).to_be_visible()
                self._take(visitor, f"studio-{name}")
        with changed(self._service, nsfw=[0]):
            visitor.open(prompt="a red apple, withheld", steps=8)
            visitor.button("Generate").click()
            visitor.page.wait_for_timeout(2500)
            self._take(visitor, "studio-withheld")

    def _gallery(self, visitor: Visitor) -> None:
        self._make(visitor, "a red apple", 1)
        visitor.open("/gallery")
        self._take(visitor, "gallery-one")
        self._make(visitor, "a green frog on a yellow background", 4)
        self._take(visitor, "studio-four")
        for number, prompt in enumerate(("a cake", "a house by the sea, at night", "x" * 90)):
            self._make(visitor, prompt, 1 + number % 2)
        page = visitor.open("/gallery")
        page.get_by_text("Select", exact=True).click()
        page.locator("[class*=st-key-open-gallery] button").nth(0).click()
        visitor.settle()
        page.locator("[class*=st-key-open-gallery] button").nth(1).click()
        visitor.settle()
        self._take(visitor, "gallery-selected")

    def _mask(self, visitor: Visitor) -> None:
        self._make(visitor, "a red apple", 1)
        visitor.button("Start from this picture").click()
        visitor.button("Only a part").click()
        expect(visitor.page.locator(".st-key-mask-canvas canvas")).to_be_visible()
        self._take(visitor, "mask-editor")
        visitor.page.keyboard.press("Escape")

    def _quota(self, visitor: Visitor) -> None:
        with changed(self._service, picture=large_picture()):
            for _ in range(3):
                visitor.open(prompt="a very large picture", steps=2)
                visitor.button("Generate").click()
                visitor.page.wait_for_timeout(2500)
            self._take(visitor, "studio-quota-full")

    def _status(self, visitor: Visitor) -> None:
        add_replicas(self._service)
        visitor.open("/status")
        visitor.page.wait_for_timeout(3000)
        self._take(visitor, "status-replicas", whole=True)
        del self._service.status.replicas[:]

    def _make(self, visitor: Visitor, prompt: str, count: int) -> None:
        visitor.open(prompt=prompt, steps=2, n=count)
        visitor.button("Generate").click()
        if count == 1:
            expect(visitor.picture()).to_have_attribute("alt", prompt, timeout=READY_MS)
        else:
            expect(visitor.page.get_by_text(f"{count} pictures").first).to_be_visible()

    def _take(self, visitor: Visitor, name: str, *, whole: bool = False) -> None:
        for scheme in SCHEMES:
            visitor.page.emulate_media(color_scheme=scheme)
            visitor.page.wait_for_timeout(1500)  # the logo follows with the next run
            path = self._folder / f"state-{self._prefix}-{scheme}-{name}.png"
            screenshot(visitor.page, path, whole=whole)
            print(path.name, flush=True)
