"""The gallery in a real browser: opening, leafing, linking, deleting."""

from __future__ import annotations

import zipfile
from base64 import b64encode

import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from tests.e2e.browsing import Visitor
from tests.e2e.conftest import Enter
from tests.e2e.test_pages import make_pictures, open_stack, serious_violations


@pytest.fixture
def visitor(enter: Enter) -> Visitor:
    made = enter()
    make_pictures(made, 3)
    made.go("Gallery")
    open_stack(made, 3)
    return made


def cards(visitor: Visitor) -> Locator:
    return visitor.page.locator("[class*=st-key-open-gallery] button")


def dialog(visitor: Visitor) -> Locator:
    return visitor.page.get_by_role("dialog")


def test_arrows_leaf_through_and_escape_closes(visitor: Visitor) -> None:
    page = visitor.page
    cards(visitor).first.click()
    expect(dialog(visitor)).to_be_visible()
    page.wait_for_url("**img=**")
    first = page.url
    expect(visitor.button("Next")).to_be_enabled()
    page.wait_for_timeout(1000)  # Streamlit listens for a button's key a moment after drawing it
    page.keyboard.press("ArrowRight")
    page.wait_for_function("before => location.href !== before", arg=first)
    page.wait_for_timeout(1000)
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("before => location.href === before", arg=first)
    page.wait_for_timeout(1000)
    page.keyboard.press("Escape")
    expect(dialog(visitor)).to_be_hidden()
    page.wait_for_function("() => !location.href.includes('img=')")


def test_a_picture_s_address_opens_it_for_its_owner_alone(enter: Enter, visitor: Visitor) -> None:
    cards(visitor).first.click()
    visitor.page.wait_for_url("**img=**")
    link = visitor.page.url.removeprefix(visitor.url)
    visitor.page.reload()
    expect(dialog(visitor)).to_be_visible()
    stranger = enter()
    stranger.open(link)
    expect(stranger.page.get_by_text("doesn't exist or isn't yours")).to_be_visible()
    expect(dialog(stranger)).to_be_hidden()


def test_deleting_can_be_undone(visitor: Visitor) -> None:
    cards(visitor).first.click()
    visitor.button("Delete").click()
    visitor.button("Delete it").click()
    expect(cards(visitor)).to_have_count(2)
    visitor.button("Undo").click()
    expect(cards(visitor)).to_have_count(3)


def test_settings_go_back_to_the_studio(visitor: Visitor) -> None:
    cards(visitor).first.click()
    visitor.button("Reuse settings").click()
    expect(visitor.page.locator("h1", has_text="Studio")).to_be_visible()
    expect(visitor.page.get_by_label("Prompt", exact=True)).to_have_value("a red apple")
    visitor.button("Settings").click()
    expect(visitor.page.get_by_label("Seed", exact=True)).to_be_visible()


def test_a_search_is_in_the_address_and_survives_a_reload(visitor: Visitor) -> None:
    box = visitor.page.get_by_label("Search prompts")
    box.fill("no such thing")
    box.press("Enter")
    expect(visitor.page.get_by_text("Nothing matches")).to_be_visible()
    visitor.page.reload()
    visitor.settle()
    expect(visitor.page.get_by_text("Nothing matches")).to_be_visible()
    visitor.button("Show everything").click()
    expect(cards(visitor)).to_have_count(3)


def test_chosen_pictures_come_as_one_zip(visitor: Visitor) -> None:
    visitor.page.locator(".st-key-choosing label").click()
    visitor.button("All on this page").click()
    expect(visitor.page.get_by_text("3 chosen")).to_be_visible()
    with visitor.page.expect_download() as download:
        visitor.button("Download 3").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 3
        for name in archive.namelist():
            with archive.open(name) as file, Image.open(file) as picture:
                assert "a red apple" in picture.info["parameters"]


def test_an_album_s_link_shows_it_to_a_stranger_until_it_is_ended(
    enter: Enter, visitor: Visitor
) -> None:
    page = visitor.page
    page.locator(".st-key-choosing label").click()
    visitor.button("All on this page").click()
    visitor.button("Album").click()
    page.get_by_label("New album").fill("Apples")
    page.get_by_label("New album").press("Enter")
    visitor.button("Make it").click()
    expect(page.get_by_text("3 pictures added to")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("combobox", name="Album").click()
    page.get_by_role("option", name="Apples").click()
    visitor.button("Share").click()
    visitor.button("Make a link").click()
    link = page.locator(".stCode code").inner_text()
    stranger = enter()
    guest = stranger.page
    guest.goto(link)
    expect(guest.get_by_role("heading", name="Apples")).to_be_visible()
    expect(guest.locator("main img")).to_have_count(3)
    for image in guest.locator("main img").all():
        expect(image).not_to_have_js_property("naturalWidth", 0)
    assert serious_violations(guest) == []
    with guest.expect_download() as download:
        guest.get_by_role("link", name="Download all").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(archive.namelist()) == 3
    visitor.button("End all its links").click()
    expect(page.get_by_role("button", name="Make a link")).to_be_visible()
    guest.reload()
    expect(guest.get_by_text("expired")).to_be_visible()
    stranger.forgive("status 404: .*/album")


DROP = """async ([url, kind]) => {
  const transfer = new DataTransfer();
  const data = url ? await (await fetch(url)).blob() : new Blob(["x"]);
  transfer.items.add(new File([data], "dropped", { type: kind }));
  for (const name of ["dragover", "drop"]) {
    const event = new DragEvent(name, { bubbles: true, cancelable: true, dataTransfer: transfer });
    document.querySelector("h1").dispatchEvent(event);
    if (!event.defaultPrevented) throw new Error("the browser would open the file");
    if (name === "dragover") window.said = document.querySelector(".ink-veil").textContent;
  }
}"""


def test_a_picture_dropped_anywhere_is_imported(visitor: Visitor, enter: Enter) -> None:
    cards(visitor).first.click()
    with visitor.page.expect_download() as download:
        visitor.button("Download").click()
    data = b64encode(download.value.path().read_bytes()).decode()
    stranger = enter()
    page = stranger.open("/about")
    page.wait_for_selector(".ink-veil", state="attached")
    page.evaluate(DROP, ["", "text/plain"])
    assert page.evaluate("window.said") == "Only PNG, JPEG and WebP pictures"
    page.evaluate(DROP, [f"data:image/png;base64,{data}", "image/png"])
    assert page.evaluate("window.said") == "Drop the picture to import it"
    expect(dialog(stranger)).to_contain_text("a red apple")
    stranger.button("Keep in the gallery").click()
    expect(dialog(stranger)).to_be_hidden()
    stranger.go("Gallery")
    expect(cards(stranger)).to_have_count(1)
