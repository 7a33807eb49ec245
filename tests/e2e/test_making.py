"""Making pictures, in a real browser, against the real backend and the embedded model."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.e2e.browsing import Visitor
from tests.e2e.conftest import Enter
from tests.e2e.processes import Backend, Studio
from tests.e2e.proxy import CuttableProxy

# Long enough to be met in mid-run on any machine.
LONG: dict[str, object] = {"steps": 150, "n": 4, "w": 256, "h": 256}
READY_MS = 120_000


@pytest.fixture
def visitor(enter: Enter) -> Visitor:
    return enter()


def start_long(visitor: Visitor, prompt: str) -> None:
    visitor.open("/", prompt=prompt, **LONG)
    visitor.button("Generate").click()
    expect(visitor.progress()).to_be_visible()
    lines = visitor.page.locator(".ink-line")
    expect(lines.filter(has_text="Step").first).to_be_visible(timeout=READY_MS)
    expect(lines).to_have_count(1)  # the last job's has gone


def test_a_prompt_becomes_a_picture_that_carries_its_settings(visitor: Visitor) -> None:
    page = visitor.open()
    box = page.get_by_label("Prompt", exact=True)
    box.fill("a red apple")
    page.wait_for_timeout(500)
    box.press("Control+Enter")
    expect(visitor.progress()).to_be_visible()
    expect(visitor.picture()).to_be_visible(timeout=READY_MS)
    expect(visitor.picture()).to_have_js_property("complete", True)
    assert visitor.picture().get_attribute("alt") == "a red apple"
    with page.expect_download() as download:
        visitor.button("Download").click()
    data = download.value.path().read_bytes()
    assert data.startswith(b"\x89PNG")
    assert download.value.suggested_filename.startswith("a-red-apple-")
    with Image.open(io.BytesIO(data)) as picture:
        assert "Steps: 30" in picture.info["parameters"]
    expect(page).to_have_title("Studio · Inkling")


def test_what_is_typed_while_it_runs_stays(visitor: Visitor) -> None:
    start_long(visitor, "a cat face")
    box = visitor.page.get_by_label("Prompt", exact=True)
    box.fill("")
    box.press_sequentially("the next idea", delay=150)
    expect(box).to_have_value("the next idea")
    visitor.button("Cancel").click()
    expect(visitor.page.get_by_text("Nothing was kept")).to_be_visible()
    expect(box).to_have_value("the next idea")


def test_escape_cancels_and_frees_the_backend(visitor: Visitor, backend: Backend) -> None:
    start_long(visitor, "a rocket")
    assert not backend.is_idle()
    expect(visitor.page).to_have_title(re.compile(r"^\d+%|^\d+ %"))
    visitor.page.locator("h1").first.click()
    visitor.page.keyboard.press("Escape")
    backend.wait_idle(10)
    expect(visitor.page.get_by_text("Nothing was kept")).to_be_visible()


def test_a_reload_in_mid_job_finds_it_again(visitor: Visitor) -> None:
    start_long(visitor, "a birthday cake")
    visitor.page.reload()
    visitor.settle()
    expect(visitor.page.get_by_label("Prompt", exact=True)).to_have_value("a birthday cake")
    expect(visitor.progress()).to_be_visible()
    expect(visitor.page.locator(".ink-line")).to_contain_text("Step")
    visitor.button("Cancel").click()
    expect(visitor.page.get_by_text("Nothing was kept")).to_be_visible()


def test_a_picture_is_kept_though_its_browser_has_gone(enter: Enter, backend: Backend) -> None:
    first = enter()
    first.open(prompt="a house")
    first.button("Generate").click()
    expect(first.progress()).to_be_visible()
    first.page.close()
    backend.wait_idle(120)
    first.page = first.context.new_page()
    first.open("/gallery")
    expect(first.page.locator(".ink-count")).to_have_text("1 picture")


def test_two_visitors_share_the_backend_and_nothing_else(enter: Enter) -> None:
    first, second = enter(), enter()
    start_long(first, "a frog")
    second.open("/", prompt="a hamburger", steps=60)  # long enough to be seen waiting
    expect(second.page.locator(".st-key-wall button").first).to_be_visible()
    second.button("Generate").click()
    expect(second.page.locator(".ink-line")).to_contain_text(
        re.compile("next|ahead of you|Step"), timeout=READY_MS
    )
    expect(second.picture()).to_be_visible(timeout=READY_MS)
    expect(first.progress()).to_be_visible()
    address = second.picture().get_attribute("src") or ""
    assert first.context.request.get(first.url + address).status == 404
    assert second.context.request.get(second.url + address).status == 200
    first.button("Cancel").click()
    expect(first.page.get_by_text("Nothing was kept")).to_be_visible()


def test_a_lost_connection_loses_no_job(enter: Enter, studio: Studio) -> None:
    proxy = CuttableProxy(studio.port)
    visitor = enter(f"http://127.0.0.1:{proxy.port}")
    start_long(visitor, "a tree on a blue background")
    proxy.cut()
    visitor.page.wait_for_timeout(2500)
    proxy.mend()
    expect(visitor.page.locator(".ink-line")).to_contain_text("Step")
    before = visitor.page.locator(".ink-line").inner_text()
    expect(visitor.page.locator(".ink-line")).not_to_have_text(before, timeout=READY_MS)
    visitor.button("Cancel").click()
    expect(visitor.page.get_by_text("Nothing was kept")).to_be_visible()
    visitor.forgive("disconnected|ERR_|[Ww]eb[Ss]ocket|Network ?Error|AxiosError|Client Error")
    proxy.close()


def test_too_long_a_prompt_from_a_link_is_cut_and_said(visitor: Visitor) -> None:
    page = visitor.open(prompt="x" * 2100)
    expect(page.get_by_text("The prompt was too long")).to_be_visible()
    assert "prompt=" not in page.url


def test_an_empty_prompt_is_said_beside_it(visitor: Visitor) -> None:
    visitor.open()
    visitor.button("Generate").click()
    expect(visitor.page.get_by_text("Say what the picture should show")).to_be_visible()
