"""Every page in both themes and on a phone: reachable, readable, quiet."""

from __future__ import annotations

import json
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.e2e.browsing import READABLE, Visitor, contrast
from tests.e2e.conftest import Enter

PAGES = ("Studio", "Gallery", "Sessions", "Compare", "Status", "About")
PATHS = {"Studio": "/", **{name: f"/{name.lower()}" for name in PAGES[1:]}}
READY_MS = 60_000
SERIOUS = ("serious", "critical")
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
}


def serious_violations(page: Page) -> list[str]:
    """What axe finds serious or worse, with where it is."""
    found = Axe().run(page).response["violations"]
    return [
        json.dumps({"rule": rule["id"], "where": [node["html"][:160] for node in rule["nodes"]]})
        for rule in found
        if rule["impact"] in SERIOUS
    ]


def make_pictures(visitor: Visitor, number: int) -> None:
    visitor.open(prompt="a red apple", n=number, steps=2)
    visitor.button("Generate").click()
    cards = visitor.page.locator("[class*=st-key-card-result-]")
    expect(cards).to_have_count(number, timeout=READY_MS)
    visitor.settle()  # until then what was there before is still fading


def open_stack(visitor: Visitor, number: int) -> Locator:
    """In the gallery, open the one card of pictures made together; returns their cards."""
    cards = visitor.page.locator("[class*=st-key-open-gallery] button")
    visitor.button(f"{number} pictures:").click()
    expect(cards).to_have_count(number)
    return cards


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_barrier(enter: Enter, scheme: str) -> None:
    visitor = enter(color_scheme=scheme)
    make_pictures(visitor, 2)
    found = {"Studio, done": serious_violations(visitor.page)}
    for name in PAGES:
        visitor.go(name)
        found[name] = serious_violations(visitor.page)
    visitor.go("Gallery")
    open_stack(visitor, 2).first.click()
    expect(visitor.page.get_by_role("dialog")).to_be_visible()
    found["Lightbox"] = serious_violations(visitor.page)
    assert found == {place: [] for place in found}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_a_primary_button_says_is_readable(enter: Enter, scheme: str) -> None:
    visitor = enter(color_scheme=scheme)
    for path, words in (("/", "Generate"), ("/sessions", "Start the session")):
        visitor.open(path)
        button = visitor.button(words)
        expect(button).to_be_visible()
        assert contrast(button) >= READABLE, path


def test_every_page_opens_from_its_address(enter: Enter) -> None:
    visitor = enter()
    for name, path in PATHS.items():
        page = visitor.open(path)
        expect(page.locator("h1", has_text=name)).to_be_visible()
        expect(page).to_have_title(f"{name} · Inkling")


def test_nothing_scrolls_sideways_on_a_phone(enter: Enter) -> None:
    visitor = enter(**PHONE)
    make_pictures(visitor, 2)
    for path in PATHS.values():
        page = visitor.open(path)
        widths = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert widths[0] <= widths[1], path


def test_on_a_phone_the_picture_comes_before_the_form(enter: Enter) -> None:
    visitor = enter(**PHONE)
    visitor.open(prompt="a red apple", steps=2)
    visitor.button("Generate").tap()
    expect(visitor.picture()).to_be_visible(timeout=READY_MS)
    picture, form = visitor.picture().bounding_box(), visitor.button("Generate").bounding_box()
    assert picture is not None
    assert form is not None
    assert picture["y"] < form["y"]


def test_a_quiet_page_sends_nothing(enter: Enter) -> None:
    visitor = enter()
    frames: list[object] = []
    visitor.page.on(
        "websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(frame))
    )
    visitor.open()
    visitor.page.wait_for_timeout(1500)
    frames.clear()
    visitor.page.wait_for_timeout(4000)
    assert frames == []


def test_the_theme_follows_the_menu(enter: Enter) -> None:
    visitor = enter(color_scheme="light")
    page = visitor.open("/about")
    visitor.button("Main menu").click()
    page.get_by_role("menuitemradio", name="Dark").click()
    visitor.go("Gallery")  # dialogs learn the theme with the next run, and need one to open
    expect(page.locator("body")).to_have_css("color-scheme", "dark")


def test_the_keyboard_alone_makes_a_picture_and_moves_the_slider(enter: Enter) -> None:
    visitor = enter()
    make_pictures(visitor, 2)
    page = visitor.go("Compare")
    knob = page.get_by_role("slider", name="How much of the left picture")
    knob.focus()
    page.keyboard.press("ArrowRight")
    expect(knob).to_have_value("51")
    visitor.go("Studio")
    page.get_by_label("Prompt", exact=True).focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("a green car")
    page.keyboard.press("Control+Enter")
    expect(visitor.picture().or_(page.locator("[class*=st-key-card-result-]").first)).to_be_visible(
        timeout=READY_MS
    )
