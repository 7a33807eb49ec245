"""The studio as hands and eyes meet it: clicks, keys, focus, what is in view, what moves."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from client import Text2ImageClient
from tests.e2e.browsing import READABLE, Visitor, contrast
from tests.e2e.conftest import Enter
from tests.e2e.first_visit import MAX_BYTES, MAX_REQUESTS, first_visit
from tests.e2e.processes import Backend
from tests.e2e.test_making import READY_MS, start_long
from tests.e2e.test_pages import PHONE, open_stack

HOLD_MS = 500  # a slow press: longer than Streamlit takes to redraw after a field is left
MAX_SHIFT_LOADING = 0.02
SLOWLY = 4  # as on a phone or a busy machine
MAX_SHIFT_MAKING = 0.01
MIN_TARGET_PX = 40
SHIFTS = """() => {
  window.shifts = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
}"""

# In the timer of talk.js, so before Streamlit sends what that one has set.
CLICK_WITH_TALK = """() => {
  const delay = window.setTimeout;
  window.setTimeout = (callback, ms, ...rest) => delay(ms !== 350 ? callback : () => {
    callback();
    document.activeElement.blur();
    document.querySelector(".st-key-generate button").click();
  }, ms, ...rest);
}"""


def make(visitor: Visitor, prompt: str = "a red apple", **settings: object) -> None:
    """Make a picture and wait until it is on the stage."""
    visitor.open(prompt=prompt, steps=2, **settings)
    visitor.button("Generate").click()
    expect(visitor.picture()).to_be_visible(timeout=READY_MS)
    visitor.settle()


def rectangle(locator: Locator) -> dict[str, float]:
    """Of an element that is drawn anew while it is looked at: read until it stands in the page."""
    for _ in range(20):
        found = locator.bounding_box()
        if found is not None:
            return {side: float(found[side]) for side in ("x", "y", "width", "height")}
        locator.page.wait_for_timeout(50)
    raise AssertionError("it is not in the page")


def is_in_view(page: Page, locator: Locator) -> bool:
    """Whether all of it lies within the window."""
    box, size = rectangle(locator), page.viewport_size
    assert size is not None
    return box["y"] >= 0 and box["y"] + box["height"] <= size["height"]


def test_a_slow_click_after_clearing_a_setting_still_generates(enter: Enter) -> None:
    visitor = enter()
    visitor.open(prompt="a red apple", steps=2, negative="blue")
    visitor.open_settings()
    visitor.page.get_by_label("Negative prompt").fill("")
    visitor.page.keyboard.press("Escape")
    visitor.button("Generate").click(delay=HOLD_MS)
    expect(visitor.picture()).to_be_visible(timeout=READY_MS)


def test_a_slow_click_out_of_the_prompt_generates_what_was_written(enter: Enter) -> None:
    visitor = enter()
    page = visitor.open(steps=2)
    page.get_by_label("Prompt", exact=True).press_sequentially("a green car")
    visitor.button("Generate").click(delay=HOLD_MS)
    expect(visitor.picture()).to_have_attribute("alt", "a green car", timeout=READY_MS)


def test_a_click_at_the_moment_that_the_typed_text_is_sent_shows_its_picture(enter: Enter) -> None:
    visitor = enter()
    page = visitor.open(steps=2)
    page.evaluate(CLICK_WITH_TALK)
    page.get_by_label("Prompt", exact=True).fill("a green car")
    expect(visitor.picture()).to_have_attribute("alt", "a green car", timeout=READY_MS)


def test_escape_in_a_field_or_a_sheet_cancels_nothing(enter: Enter, backend: Backend) -> None:
    visitor = enter()
    cancelled = num_cancelled(backend)
    start_long(visitor, "a rocket")
    box = visitor.page.get_by_label("Prompt", exact=True)
    box.click()
    box.press("Escape")
    visitor.open_settings()
    visitor.page.get_by_text("Experiment", exact=True).click()
    visitor.page.get_by_label("Noise scheduler").click()
    visitor.page.keyboard.press("Escape")
    visitor.page.keyboard.press("Escape")
    visitor.page.wait_for_timeout(1000)
    assert num_cancelled(backend) == cancelled
    if not backend.is_idle():
        visitor.button("Cancel").click()
    backend.wait_idle(120)


def num_cancelled(backend: Backend) -> int:
    with Text2ImageClient(backend.address) as client:
        return client.status().counters.cancelled


def test_a_full_queue_says_so_readably(enter: Enter, backend: Backend) -> None:
    visitor = enter()
    start_long(visitor, "a rocket")
    for number in range(3):
        visitor.page.get_by_label("Prompt", exact=True).fill(f"a rocket {number}")
        visitor.button("Add to queue").click()
        expect(visitor.button(re.compile(rf"\({number + 2} of 4\)"))).to_be_visible()
    full = visitor.button(re.compile("queue is full"))
    expect(full).to_be_disabled()
    assert contrast(full) >= READABLE
    press = "document.querySelector('.st-key-cancel button:not(:disabled)')?.click()"
    while not visitor.page.get_by_text("Nothing was kept").is_visible():
        visitor.page.evaluate(press)
        visitor.page.wait_for_timeout(500)
    backend.wait_idle(30)


def test_the_large_picture_opens_the_lightbox_and_escape_closes_it_after_a_download(
    enter: Enter,
) -> None:
    visitor = enter()
    make(visitor)
    visitor.page.locator(".st-key-zoom button").click()
    dialog = visitor.page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("heading", level=2)).to_have_text("a red apple")
    for _ in range(3):
        with visitor.page.expect_download():
            dialog.get_by_role("button", name="Download").click()
        visitor.page.evaluate("document.activeElement.blur()")
    visitor.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_leafing_through_pictures_is_one_step_back(enter: Enter) -> None:
    visitor = enter()
    visitor.open(prompt="a red apple", n=4, steps=2)
    visitor.button("Generate").click()
    expect(visitor.page.locator("[class*=st-key-card-result-]")).to_have_count(4, timeout=READY_MS)
    page = visitor.go("Gallery")
    open_stack(visitor, 4).first.click()
    page.wait_for_url("**img=**")
    for _ in range(3):
        before = page.url
        visitor.button("Next").click()
        page.wait_for_function("before => location.href !== before", arg=before)
        visitor.settle()
    page.go_back()
    page.wait_for_function("() => !location.href.includes('img=')")
    expect(page.locator("h1")).to_have_text("Gallery")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_arrow_keys_move_along_the_filmstrip_but_not_while_typing(enter: Enter) -> None:
    visitor = enter()
    for number in range(2):
        make(visitor, seed=number)
    page = visitor.page
    line = page.locator(".st-key-canvas .ink-line")
    expect(line).to_contain_text("Seed 1")
    visitor.settle()
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    expect(line).to_contain_text("Seed 0")
    box = page.get_by_label("Prompt", exact=True)
    box.click()
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(700)
    expect(line).to_contain_text("Seed 0")
    page.locator("h1").click()
    page.keyboard.press("ArrowLeft")
    expect(line).to_contain_text("Seed 1")


def test_an_unknown_page_is_said(enter: Enter) -> None:
    visitor = enter()
    page = visitor.open("/no-such-page")
    expect(page.get_by_text("There is no page “/no-such-page” here")).to_be_visible()
    expect(page.get_by_role("dialog")).to_be_hidden()  # Streamlit would say it a second time
    visitor.open("/gallery")
    expect(page.get_by_text("There is no page")).to_be_hidden()


def test_on_a_phone_the_finished_picture_is_in_view_and_the_bar_at_the_thumb(enter: Enter) -> None:
    visitor = enter(**PHONE)
    page = visitor.open(prompt="a red apple", steps=2)
    visitor.button("Generate").tap()
    expect(visitor.picture()).to_be_visible(timeout=READY_MS)
    assert is_in_view(page, visitor.picture())
    assert is_in_view(page, visitor.button("Generate"))
    page.mouse.wheel(0, 600)
    page.wait_for_timeout(300)
    assert is_in_view(page, visitor.button("Generate"))
    visitor.go("Gallery")
    visitor.go("Studio")
    assert is_in_view(page, visitor.picture())


@pytest.mark.parametrize("width", [390, 640, 700, 767])
def test_no_menu_stays_over_the_page_after_a_choice(enter: Enter, width: int) -> None:
    visitor = enter(**{**PHONE, "viewport": {"width": width, "height": 844}})
    page = visitor.open()
    visitor.go("Gallery")
    middle = page.evaluate(
        "document.elementFromPoint(innerWidth / 2, innerHeight / 2).closest('[data-testid=stMain]')"
        " !== null"
    )
    assert middle
    expect(page.get_by_test_id("stSidebar")).to_be_hidden()


def test_on_a_phone_there_are_no_keyboard_hints_and_targets_suit_a_thumb(enter: Enter) -> None:
    visitor = enter(**PHONE)
    page = visitor.open()
    expect(page.locator("kbd").first).to_be_hidden()
    small = page.evaluate(
        """min => [...document.querySelectorAll("button, a[href], [role=radio]")]
        .filter((e) => e.checkVisibility() && !e.closest("[data-testid=stHeader], .st-key-keys"))
        .map((e) => [e.innerText || e.ariaLabel, e.getBoundingClientRect()])
        .filter(([name, box]) => box.width > 1 && (box.height < min || box.width < min))
        .map(([name, box]) => `${name}: ${box.width} x ${box.height}`)""",
        MIN_TARGET_PX - 0.5,
    )
    assert [target for target in small if not target.startswith("Skip to")] == []


def test_on_a_phone_a_long_seed_is_seen_whole_and_no_choice_stands_alone(enter: Enter) -> None:
    visitor = enter(**PHONE)
    page = visitor.open(prompt="a red apple", seed=4_294_967_295)
    visitor.open_settings()
    seed = page.get_by_label("Seed", exact=True)
    expect(seed).to_have_value("4294967295")
    assert seed.evaluate("field => field.scrollWidth <= field.clientWidth")
    rows = page.evaluate(
        """() => [...document.querySelectorAll("[role=radiogroup]")].map((group) =>
          Object.values(Object.groupBy([...group.querySelectorAll("[role=radio]")],
            (radio) => Math.round(radio.getBoundingClientRect().top))).map((row) => row.length))"""
    )
    assert rows
    assert all(1 not in group for group in rows), rows


def test_a_first_visit_keeps_to_its_budget(enter: Enter) -> None:
    visit = first_visit(enter())
    assert visit.num_bytes <= MAX_BYTES
    assert visit.requests <= MAX_REQUESTS


def slowly(page: Page, rate: int) -> None:
    """Let the page have one `rate`th of the processor: it is then drawn in more parts."""
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": rate})


def test_nothing_moves_while_a_page_loads_or_a_picture_forms(enter: Enter) -> None:
    visitor = enter()
    page = visitor.page
    page.add_init_script(f"({SHIFTS})()")
    slowly(page, SLOWLY)
    visitor.open(prompt="a red apple", seed=1)
    page.wait_for_timeout(1500)
    assert page.evaluate("window.shifts") <= MAX_SHIFT_LOADING
    slowly(page, 1)
    visitor.button("Generate").click()
    expect(visitor.picture()).to_be_visible(timeout=READY_MS)
    page.wait_for_timeout(1000)
    page.evaluate("window.shifts = 0")
    visitor.button("More like this").click()
    expect(visitor.progress()).to_be_visible()
    expect(visitor.progress()).to_be_hidden(timeout=READY_MS)
    page.wait_for_timeout(1000)
    assert page.evaluate("window.shifts") <= MAX_SHIFT_MAKING


def test_the_stage_keeps_its_place_in_every_state(enter: Enter) -> None:
    visitor = enter()
    make(visitor)
    frame = visitor.page.locator(".ink-frame")
    done = rectangle(frame)
    start_long(visitor, "a rocket")
    running: dict[str, Any] = rectangle(frame)
    visitor.button("Cancel").click()
    expect(visitor.page.get_by_text("Nothing was kept")).to_be_visible()
    assert rectangle(frame) == running == done
