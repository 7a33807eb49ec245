"""A demo session in a real browser: a host, a wall and guests on phones, from start to album."""

from __future__ import annotations

import re
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browsing import Visitor
from tests.e2e.conftest import Enter
from tests.e2e.processes import Backend, Studio

PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 640},
    "is_mobile": True,
    "has_touch": True,
}
SCRIPT = "<img src=x onerror=alert(1)>"
ON_WALL = "#stage .tile.done:not(.away)"
WIDER = "document.documentElement.scrollWidth > innerWidth"
HIGHER = "document.documentElement.scrollHeight > innerHeight"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """The real servers with a model that paints one colour: it comes back quickly."""
    made = Backend(tmp_path_factory.mktemp("backend"), {"FAKE_STEP_S": "0.05"})
    made.run_module("tests.support.fake_backend")
    made.start()
    made.wait_ready()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def studio(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    environ = {"TEXT2IMAGE_UI_HOST": "0.0.0.0"}
    made = Studio(tmp_path_factory.mktemp("studio"), backend.address, environ)
    made.start()
    made.wait_ready()
    yield made
    made.stop()


def start_session(host: Visitor, *, approve: bool = False) -> str:
    """Fill in the form; returns the code."""
    page = host.open("/sessions")
    page.get_by_label("Name", exact=True).fill("Open day")
    page.get_by_role("textbox", name="Theme").fill("animals")
    if approve:
        page.get_by_text("Approve first").click()
    host.button("Start the session").click()
    expect(page.locator(".ink-join strong")).to_be_visible()
    return page.locator(".ink-join strong").inner_text().replace("-", "")


def open_wall(enter: Enter, code: str) -> Page:
    visitor = enter(viewport={"width": 1920, "height": 1080})
    visitor.page.goto(f"{visitor.url}/wall?code={code}")
    expect(visitor.page.locator("#name")).to_have_text("Open day")
    return visitor.page


def join(enter: Enter, code: str, nickname: str) -> Page:
    visitor = enter(**PHONE)
    page = visitor.page
    page.goto(f"{visitor.url}/join?code={code}")
    page.get_by_label("Your nickname").fill(nickname)
    page.get_by_label("Show my pictures").check()
    page.get_by_role("button", name="Join").click()
    expect(page.locator("#room")).to_be_visible()
    return page


def ask(page: Page, prompt: str) -> None:
    page.locator("#prompt").fill(prompt)
    page.get_by_role("button", name="Make it").click()
    expect(page.locator("#prompt")).to_have_value("")


def choose(host: Visitor, kind: str) -> None:
    host.page.get_by_role("radio", name=re.compile(kind)).click()


def test_from_the_start_to_the_album(
    enter: Enter, backend: Backend, studio: Studio, tmp_path: Path
) -> None:
    host = enter()
    code = start_session(host)
    wall = open_wall(enter, code)
    expect(wall.locator("#empty")).to_be_visible()
    expect(wall.locator("#code")).to_have_text(f"{code[:4]}-{code[4:]}")
    expect(wall.locator("#qr")).to_have_js_property("complete", True)

    # Three guests; what they write stays text.
    ada, ben, eve = (join(enter, code, name) for name in ("Ada", "Ben", SCRIPT[:24]))
    expect(ada.locator("#told")).to_contain_text("3 left")
    ask(ada, "a red cat")
    ask(ben, "a blue dog")
    ask(eve, SCRIPT)
    expect(wall.locator(ON_WALL)).to_have_count(3)
    expect(wall.locator(".tile b", has_text=SCRIPT)).to_be_visible()
    expect(wall.locator(f"{ON_WALL} img.seen:not(.rough)")).to_have_count(3)
    assert wall.locator("#stage img[src=x]").count() == 0
    assert not wall.evaluate(WIDER)
    assert not wall.evaluate(HIGHER)
    assert not ada.evaluate(WIDER)
    expect(ada.locator("#told")).to_contain_text("About")

    # A pause, and a hidden picture.
    host.button("Pause").click()
    expect(ada.get_by_role("button", name="Paused")).to_be_disabled()
    expect(wall.locator("#queue")).to_have_text("Paused for a moment")
    host.button("Resume").click()
    expect(ada.get_by_role("button", name="Make it")).to_be_enabled()
    card = host.page.locator("[class*=st-key-seen-]", has_text="a blue dog")
    card.get_by_role("button", name="Hide").click()
    expect(wall.locator(ON_WALL)).to_have_count(2)
    expect(ben.locator(".card small")).to_have_text("Only you and the host see it")
    choose(host, "Hidden")
    card.get_by_role("button", name="Show").click()
    expect(wall.locator(ON_WALL)).to_have_count(3)

    # The backend dies; a guest asks, closes the page, and finds the picture later.
    backend.stop(signal.SIGKILL)
    ask(ada, "a green frog")
    expect(ada.locator(".card.now")).to_contain_text("a green frog")
    context, url = ada.context, ada.url
    ada.close()
    backend.start()
    backend.wait_ready()
    expect(wall.locator(ON_WALL)).to_have_count(4)
    again = context.new_page()
    again.goto(url)
    expect(again.locator("#me")).to_have_text("Ada")
    expect(again.locator(".card:not(.now)")).to_have_count(2)

    # A picture of one's own: large, the original to keep, its prompt to use again.
    again.get_by_role("button", name="Open: a green frog").click()
    with again.expect_download() as saved:
        again.get_by_text("Download").click()
    assert saved.value.path().read_bytes().startswith(b"\x89PNG")
    again.get_by_role("button", name="Use again").click()
    expect(again.locator("#prompt")).to_have_value("a green frog")
    ask(again, "a third one")
    expect(again.locator("#told")).to_contain_text("Those were your 3 pictures")
    expect(wall.locator(ON_WALL)).to_have_count(5)
    expect(host.button("Download the album (5)")).to_be_enabled()  # without a reload

    # The end.
    host.button("End").first.click()
    host.button("End the session").click()
    expect(wall.locator("#how")).to_have_text("This session is over")
    expect(again.get_by_role("button", name="Thank you")).to_be_disabled()
    with host.page.expect_download() as album:
        host.button(re.compile("Download the album")).click()
    album.value.save_as(tmp_path / "album.zip")
    with zipfile.ZipFile(tmp_path / "album.zip") as archive:
        names = archive.namelist()
        assert sum(name.startswith("pictures/") for name in names) == 5
        assert {"index.html", "contact-sheet-1.png"} <= set(names)
        assert SCRIPT not in archive.read("index.html").decode()
    studio.check_alive()


def test_a_moderated_session_shows_what_the_host_approves(enter: Enter) -> None:
    host = enter(viewport={"width": 390, "height": 844})  # on a phone, while the wall is projected
    code = start_session(host, approve=True)
    wall = open_wall(enter, code)
    guest = enter(**PHONE)
    guest.page.goto(f"{guest.url}/join?code={code}")
    expect(guest.page.locator("#moderated")).to_be_visible()
    guest.page.get_by_label("Your nickname").fill("Ada")
    guest.page.get_by_label("Show my pictures").check()
    guest.page.get_by_role("button", name="Join").click()
    ask(guest.page, "a red cat")
    expect(guest.page.locator(".card small")).to_have_text("Waits for the host")
    expect(wall.locator(ON_WALL)).to_have_count(0)
    host.button("Approve").click()
    expect(wall.locator(ON_WALL)).to_have_count(1)
    expect(guest.page.locator(".card small")).to_have_text("On the wall")
    host.page.get_by_role("radio", name="Guests").click()
    host.button("Remove").click()
    expect(wall.locator(ON_WALL)).to_have_count(0)
    expect(guest.page.locator("#told")).to_contain_text("taken you off")


def test_a_wrong_code_is_told_on_the_phone_and_the_wall_stays_calm(enter: Enter) -> None:
    guest, wall = enter(**PHONE), enter()
    guest.page.goto(f"{guest.url}/join?code=AAAA2222")
    expect(guest.page.locator("#wrong")).to_contain_text("no session with this code")
    wall.page.goto(f"{wall.url}/wall?code=AAAA2222")
    expect(wall.page.locator("#brand")).to_be_visible()
    assert "AAAA" not in wall.page.inner_text("body")
    for visitor in (guest, wall):
        visitor.forgive("status 404: .*/s/(events|qr)")
