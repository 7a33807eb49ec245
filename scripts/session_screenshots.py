"""Screenshots of a demo session: host, wall and guests, in every state."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from scripts.whole_page import screenshot
from tests.e2e.browsing import Visitor
from tests.e2e.processes import Studio

READY_MS = 180_000
DESK: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 800},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
PROJECTOR: dict[str, Any] = {"viewport": {"width": 1920, "height": 1080}}
ASKED = {"Ada": "a red apple", "Ben": "a green frog", "Chloé": "a birthday cake"}
ON_WALL = "#stage .tile.done:not(.away)"


class SessionShots:
    """One session in one theme, from the form to the album."""

    def __init__(self, browser: Browser, studio: Studio, scheme: str, folder: Path) -> None:
        self._browser, self._studio, self._scheme, self._folder = browser, studio, scheme, folder
        self._visitors: list[Visitor] = []

    def shoot(self, cookies: Any) -> None:
        """Everything: a moderated session, a pause, the end."""
        host = self._enter(DESK)
        host.context.add_cookies(cookies)
        code = self._start(host)
        wall = self._page(PROJECTOR, f"/wall?code={code}")
        self._take(wall, "wall-empty")
        guests = {name: self._join(code, name) for name in ASKED}
        for name, prompt in ASKED.items():
            guests[name].locator("#prompt").fill(prompt)
            guests[name].get_by_role("button", name="Make it").click()
        self._take(guests["Ada"], "guest-waiting")
        expect(host.button("Approve").nth(2)).to_be_visible(timeout=READY_MS)
        self._take(wall, "wall-approve-first")
        self._take(guests["Ada"], "guest-approve-first")
        self._take(host.page, "host-approve-first", whole=True)
        self._on_phone(host, "host-phone-approve-first")
        for number in (2, 1, 0):
            host.button("Approve").nth(number).click()
            expect(wall.locator(ON_WALL)).to_have_count(3 - number, timeout=READY_MS)
        self._take(wall, "wall-done")
        self._take(guests["Ada"], "guest-done")
        host.button("Pause").click()
        expect(guests["Ada"].get_by_role("button", name="Paused")).to_be_visible()
        self._take(wall, "wall-paused")
        self._take(guests["Ada"], "guest-paused")
        self._take(host.page, "host-paused", whole=True)
        self._on_phone(host, "host-phone-paused")
        host.button("End").first.click()
        host.button("End the session").click()
        expect(wall.locator("#how")).to_have_text("This session is over")
        self._take(wall, "wall-ended")
        self._take(guests["Ada"], "guest-ended")
        self._take(host.page, "host-ended", whole=True)
        self._on_phone(host, "host-phone-ended")
        for visitor in self._visitors:
            visitor.context.close()

    def _start(self, host: Visitor) -> str:
        page = host.open("/sessions")
        page.get_by_label("Name", exact=True).fill("Open day")
        page.get_by_role("textbox", name="Theme").fill("Things one can eat")
        page.get_by_text("Approve first").click()
        self._take(page, "host-form", whole=True)
        host.button("Start the session").click()
        expect(page.locator(".ink-join strong")).to_be_visible(timeout=READY_MS)
        return page.locator(".ink-join strong").inner_text().replace("-", "")

    def _join(self, code: str, name: str) -> Page:
        page = self._page(PHONE, f"/join?code={code}")
        page.get_by_label("Your nickname").fill(name)
        page.get_by_label("Show my pictures").check()
        if name == "Ada":
            self._take(page, "guest-welcome")
        page.get_by_role("button", name=re.compile("Join")).click()
        expect(page.locator("#room")).to_be_visible()
        return page

    def _on_phone(self, host: Visitor, name: str) -> None:
        """The host's page as a phone shows it, which has the host's cookies."""
        phone = self._enter(PHONE)
        phone.context.add_cookies(host.context.cookies())  # type: ignore[arg-type]
        phone.page.goto(host.page.url)
        phone.settle()
        self._take(phone.page, name, whole=True)
        phone.context.close()
        self._visitors.remove(phone)

    def _page(self, size: dict[str, Any], path: str) -> Page:
        page = self._enter(size).page
        page.goto(f"{self._studio.url}{path}")
        return page

    def _enter(self, size: dict[str, Any]) -> Visitor:
        enter: Callable[..., Any] = self._browser.new_context
        visitor = Visitor(enter(color_scheme=self._scheme, **size), self._studio.url)
        self._visitors.append(visitor)
        return visitor

    def _take(self, page: Page, name: str, *, whole: bool = False) -> None:
        page.wait_for_timeout(1500)  # pictures fade in
        screenshot(page, self._folder / f"session-{self._scheme}-{name}.png", whole=whole)
        print(f"session-{self._scheme}-{name}.png", flush=True)
