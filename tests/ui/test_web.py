from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.ui.conftest import png
from ui.identity import COOKIE, Signer
from ui.storage.files import PictureFiles
from ui.web import IdentityCookie, SecurityHeaders, base_path, picture_address, routes

SIGNER = Signer(b"secret")


@pytest.fixture
def browser(files: PictureFiles) -> TestClient:
    files.write("abc123", png(), "image/png", b"{}")

    async def page(_request: object) -> HTMLResponse:
        return HTMLResponse("<p>page</p>")

    app = Starlette(
        routes=[*routes(files, SIGNER), Route("/", page)],
        middleware=[Middleware(SecurityHeaders), Middleware(IdentityCookie, signer=SIGNER)],
    )
    return TestClient(app)


def identify(browser: TestClient) -> str:
    browser.get("/")
    found = SIGNER.browser_of(browser.cookies[COOKIE])
    assert found is not None
    return found


def test_the_first_page_gives_the_browser_an_id_and_the_next_keeps_it(browser: TestClient) -> None:
    cookie = browser.get("/").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "set-cookie" not in browser.get("/").headers


def test_a_forged_cookie_is_replaced(browser: TestClient) -> None:
    browser.cookies.set(COOKIE, "me.forged")
    assert COOKIE in browser.get("/").headers["set-cookie"]


def test_only_pages_set_the_cookie(browser: TestClient) -> None:
    assert "set-cookie" not in browser.get("/text2image.proto").headers


def test_a_picture_comes_to_its_browser_as_it_was_and_is_kept_there(browser: TestClient) -> None:
    me = identify(browser)
    answer = browser.get(picture_address(SIGNER, me, "abc123", "full"))
    assert answer.content == png()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    thumb = browser.get(picture_address(SIGNER, me, "abc123", "thumb"))
    assert thumb.headers["content-type"] == "image/webp"


def test_another_browser_gets_nothing_even_with_the_address(browser: TestClient) -> None:
    address = picture_address(SIGNER, identify(browser), "abc123", "full")
    browser.cookies.clear()
    assert browser.get(address).status_code == 404
    identify(browser)
    answer = browser.get(address)
    assert answer.status_code == 404
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/img/abc123/full", "/img/abc123/full?k=wrong", "/img/nope/full"])
def test_an_address_without_the_right_key_gets_nothing(browser: TestClient, path: str) -> None:
    identify(browser)
    assert browser.get(path).status_code == 404


def test_an_id_that_climbs_out_of_the_folder_gets_nothing(
    browser: TestClient, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("no", encoding="utf-8")
    me = identify(browser)
    for name in ("..", "..%2Fsecret", "a.b"):
        key = SIGNER.picture_key(me, name.replace("%2F", "/"))
        assert browser.get(f"/img/{name}/full?k={key}").status_code == 404


def test_a_deleted_picture_is_gone(browser: TestClient, files: PictureFiles) -> None:
    address = picture_address(SIGNER, identify(browser), "abc123", "full")
    files.mark_deleted("abc123")
    assert browser.get(address).status_code == 404


def test_every_answer_keeps_other_sites_out(browser: TestClient) -> None:
    for path in ("/", "/nowhere", "/img/x/full"):
        headers = browser.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


def test_the_contract_can_be_downloaded(browser: TestClient) -> None:
    assert "service Text2ImageService" in browser.get("/text2image.proto").text


def test_below_a_path_pictures_have_it_before_their_addresses(files: PictureFiles) -> None:
    files.write("abc123", png(), "image/png", b"{}")
    for configured in ("app", "/app/", "a/b"):
        base = base_path(configured)
        app = Starlette(
            routes=[*routes(files, SIGNER, base), Route("/", lambda _r: HTMLResponse("page"))],
            middleware=[Middleware(IdentityCookie, signer=SIGNER)],
        )
        browser = TestClient(app)
        address = picture_address(SIGNER, identify(browser), "abc123", "full", base)
        assert address.startswith(f"/{configured.strip('/')}/img/")
        assert browser.get(address).content == png()
        assert browser.get(f"{base}/text2image.proto").status_code == 200
    assert base_path("") == base_path("/") == ""
