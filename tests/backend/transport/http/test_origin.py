"""Which requests of browsers are let through."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from backend.transport.http.app import render
from backend.transport.http.origin import HOST_TEXT, ORIGIN_TEXT, OriginGuard
from tests.support.http_front import STREAM

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"


def answer(
    method: str = "GET",
    path: str = "/v1/models",
    origins: tuple[str, ...] = (),
    hosts: tuple[str, ...] = (),
    **headers: Any,
) -> tuple[int, str]:
    async def reached(request: Request) -> PlainTextResponse:
        return PlainTextResponse("reached")

    guard = Middleware(OriginGuard, render=render, origins=origins, hosts=hosts)
    app = Starlette(
        routes=[Route("/{path:path}", reached, methods=["GET", "POST"])], middleware=[guard]
    )
    given = {"host": "localhost:8080"} | {k.replace("_", "-"): v for k, v in headers.items()}
    told = TestClient(app).request(method, path, headers=given)
    return told.status_code, told.text


@pytest.fixture(autouse=True)
def _name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Laptop")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "LOCALHOST:8080",
        "localhost.:8080",
        "studio.localhost",
        "127.0.0.1:8080",
        "[::1]:8080",
        "192.168.1.7:8080",
        "laptop",
        "laptop.local:8080",
        "pictures.example.org",
        "a.b.inside.example.org",
    ],
)
def test_our_own_names(host: str) -> None:
    hosts = ("pictures.example.org", "*.inside.example.org")
    assert answer(host=host, hosts=hosts) == (200, "reached")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "notlocalhost",
        "evilinside.example.org",
        "[::1",
        "",
    ],
)
def test_other_names_are_refused_as_by_dns_rebinding(host: str) -> None:
    code, text = answer(host=host, origin=f"http://{host}", hosts=("*.inside.example.org",))
    assert code == 403
    assert HOST_TEXT in text


def test_every_name_where_the_operator_says_so() -> None:
    assert answer(host="evil.example", hosts=("*",))[0] == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("mode", ["no-cors", "navigate", "cors"])
def test_what_a_browser_sends_for_another_site_is_refused(site: str, mode: str) -> None:
    code, text = answer(path=STREAM, sec_fetch_site=site, sec_fetch_mode=mode, user_agent=CHROME)
    assert code == 403
    assert ORIGIN_TEXT.format(origin="it") in text


def test_what_a_person_types_is_answered() -> None:
    assert answer(sec_fetch_site="none", user_agent=CHROME)[0] == 200
    assert answer(path=STREAM, sec_fetch_site="none", user_agent=CHROME)[0] == 200
    assert answer(sec_fetch_site="same-origin", user_agent=CHROME)[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000", ""])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_origins_are_refused(origin: str, method: str) -> None:
    assert answer(method, STREAM, origin=origin)[0] == 403


def test_origins_that_may_call() -> None:
    known: dict[str, Any] = {"origins": ("https://studio.example",)}
    page: dict[str, Any] = {"origin": "https://studio.example", "sec_fetch_site": "cross-site"}
    assert answer("POST", STREAM, **known, **page)[0] == 200
    assert answer("POST", STREAM, origins=("*",), origin="https://any.example")[0] == 200
    assert answer("POST", STREAM, origin="http://localhost:8080")[0] == 200


def test_a_browser_that_hides_its_page_cannot_draw_by_get() -> None:
    """To plain addresses on the network browsers send neither Origin nor Sec-Fetch-Site."""
    assert answer(path=STREAM, host="192.168.1.7:8080", user_agent=CHROME)[0] == 403
    assert answer(path="/openapi.json", host="192.168.1.7:8080", user_agent=CHROME)[0] == 200


def test_programs_are_not_asked() -> None:
    assert answer(path=STREAM, user_agent="curl/8.5.0")[0] == 200
    assert answer("POST", STREAM, user_agent="OpenAI/Python 3.54.0")[0] == 200


@pytest.mark.parametrize("origin", ["tauri://localhost", "app://obsidian.md", "null"])
def test_desktop_programs_are_let_in_by_name_and_told_how(origin: str) -> None:
    status, text = answer("POST", origin=origin)
    assert status == 403
    assert f"add {origin} to TEXT2IMAGE_HTTP_CORS_ORIGINS" in json.loads(text)["error"]["message"]
    assert answer("POST", origin=origin, origins=(origin,)) == (200, "reached")


def test_a_strange_origin_is_not_repeated() -> None:
    assert "add it to" in answer("POST", origin="x" * 500)[1]


def test_any_page_may_show_a_picture_whose_name_it_knows() -> None:
    picture = "/v1/images/files/a.png"
    assert answer(path=picture, sec_fetch_site="cross-site")[0] == 200
    assert answer("POST", path=picture, sec_fetch_site="cross-site")[0] == 403
    assert answer(path=picture, host="evil.example")[0] == 403
