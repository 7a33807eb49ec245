"""The studio below a path of another site's, as behind a proxy that forwards that path alone."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.e2e.browsing import Visitor
from tests.e2e.processes import Studio
from tests.support.fake_service import FakeService


def test_pictures_are_found_below_the_path(browser: Browser, tmp_path: Path) -> None:
    with FakeService() as service:
        studio = Studio(tmp_path, service.address, {"STREAMLIT_SERVER_BASE_URL_PATH": "app"})
        studio.url += "/app"
        studio.start()
        try:
            studio.wait_ready()
            visitor = Visitor(browser.new_context(), studio.url)
            visitor.open("/", prompt="a red cat")
            visitor.button("Generate").click()
            picture = visitor.page.locator("img.ink-large[src*='/img/']:not(.ink-under)")
            expect(picture).to_be_visible()
            shown = picture.evaluate(
                "async (image) => { await image.decode(); return [image.naturalWidth, image.src]; }"
            )
            assert shown[0] > 0
            assert "/app/img/" in shown[1]
            visitor.context.close()
        finally:
            studio.stop()
