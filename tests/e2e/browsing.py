"""A visitor with a browser: opens pages, presses buttons, notices errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from playwright.sync_api import BrowserContext, Locator, Page, Response, expect

SETTLED = "[data-testid=stApp][data-test-script-state=notRunning]"
# Streamlit's client looks for a server below a deep link first; the answer is 404 and harmless.
PROBE = re.compile(r"/(gallery|sessions|compare|status|about)/_stcore/(health|host-config)$")
LOCAL = ("127.0.0.1", "localhost")
PATIENCE_MS = 60_000  # on a busy machine; what has a budget is measured in bench
READABLE = 4.5  # the least contrast of text, WCAG 2
COLOURS = (
    "e => [getComputedStyle(e.querySelector('p') ?? e).color, getComputedStyle(e).backgroundColor]"
)
PRESS_MS = 60  # Streamlit loses a navigation whose press and release come together


expect.set_options(timeout=PATIENCE_MS / 2)


class Visitor:
    """One browser context, and all that went wrong in it."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.complaints: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self._listen(self.page)

    def open(self, path: str = "/", /, **query: object) -> Page:
        """Load a page and wait until it is drawn."""
        address = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        self.page.goto(address, wait_until="commit")
        return self.settle()

    def settle(self) -> Page:
        """Wait until the script has run: keys pressed earlier are lost."""
        self.page.wait_for_selector(SETTLED)
        expect(self.page.locator("h1").first).to_be_visible()
        return self.page

    def go(self, name: str) -> Page:
        """Follow the navigation to a page."""
        self.page.get_by_role("link", name=name, exact=True).click(delay=PRESS_MS)
        expect(self.page.locator("h1", has_text=name)).to_be_visible()
        return self.settle()

    def generate(self, prompt: str) -> None:
        """Write a prompt and press Generate."""
        self.page.get_by_label("Prompt", exact=True).fill(prompt)
        self.button("Generate").click(delay=PRESS_MS)

    def button(self, name: str | re.Pattern[str]) -> Locator:
        """A button by what it says."""
        return self.page.get_by_role("button", name=name)

    def picture(self) -> Locator:
        """The finished picture on the stage."""
        return self.page.locator(".st-key-stage img.ink-large[src^='/img/']:not(.ink-under)")

    def progress(self) -> Locator:
        """The progress bar on the stage."""
        return self.page.locator(".st-key-stage .ink-bar[role=progressbar]")

    def open_settings(self) -> None:
        """Open the settings behind the prompt bar."""
        self.button("Settings").click(delay=PRESS_MS)
        expect(self.page.get_by_label("Negative prompt")).to_be_visible()

    def forgive(self, pattern: str) -> None:
        """Drop complaints that the test itself has caused."""
        self.complaints = [c for c in self.complaints if not re.search(pattern, c)]

    def _listen(self, page: Page) -> None:
        page.on("console", lambda m: self._complain(f"console: {m.text} {m.location}", m.type))
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        page.on("request", lambda request: self._notice_address(request.url))
        page.on("response", self._notice_response)

    def _complain(self, text: str, kind: str) -> None:
        if kind == "error" and "Failed to load resource" not in text:
            self.complaints.append(text)

    def _notice_address(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname not in LOCAL:
            self.complaints.append(f"foreign request: {url}")

    def _notice_response(self, response: Response) -> None:
        if response.status >= 400 and not PROBE.search(urlsplit(response.url).path):
            self.complaints.append(f"status {response.status}: {response.url}")


def contrast(button: Locator) -> float:
    """Between a button's words and its surface as WCAG 2 defines it, 1 to 21; both opaque."""
    light = []
    for colour in button.evaluate(COLOURS):
        numbers = [float(n) for n in re.findall(r"[\d.]+", colour)]
        assert len(numbers) == 3, colour
        linear = [
            c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
            for c in (n / 255 for n in numbers)
        ]
        light.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(light) + 0.05) / (min(light) + 0.05)


def launch_options() -> Mapping[str, object]:
    """Debian's Chromium, which never calls home."""
    return {
        "executable_path": "/usr/bin/chromium",
        "args": [
            "--no-sandbox",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
        ],
    }
