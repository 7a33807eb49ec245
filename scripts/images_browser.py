"""Generate one picture in the studio with a browser, for scripts/images-check.

python -m scripts.images_browser http://127.0.0.1:8501 studio.png
"""

from __future__ import annotations

import sys

from playwright.sync_api import sync_playwright

CHROMIUM = "/usr/bin/chromium"
PROMPT = "a red apple on a table"


def main(url: str, screenshot: str) -> None:
    """Type, click, wait for the picture, and take a screenshot."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page()
        page.goto(url)
        page.get_by_label("Prompt", exact=True).fill(PROMPT)
        page.get_by_role("button", name="Generate").click()
        picture = page.locator(f'img[alt*="{PROMPT}"]').first
        picture.wait_for(timeout=90_000)
        page.screenshot(path=screenshot)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
