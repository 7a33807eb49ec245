"""Which pages may use the studio."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from ui.origin import OriginGuard

OWN = {"host": "localhost:8501"}


def client(*hosts: str) -> TestClient:
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse("reached")

    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("reached")
        await socket.close()

    routes = [Route("/", page, methods=["GET", "PUT"]), WebSocketRoute("/stream", stream)]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(OriginGuard, hosts=hosts)]))


def reaches(method: str = "GET", hosts: tuple[str, ...] = (), **headers: Any) -> bool:
    given = OWN | {name.replace("_", "-"): value for name, value in headers.items()}
    answer = client(*hosts).request(method, "/", headers=given)
    assert answer.status_code in (200, 403)
    return answer.text == "reached"


def connects(hosts: tuple[str, ...] = (), **headers: Any) -> bool:
    given = OWN | {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with client(*hosts).websocket_connect("/stream", headers=given) as socket:
            return socket.receive_text() == "reached"
    except WebSocketDisconnect:
        return False


def test_our_own_page_reaches_everything() -> None:
    own: dict[str, Any] = {"origin": "http://localhost:8501", "sec_fetch_site": "same-origin"}
    assert reaches(**own)
    assert reaches("PUT", **own)
    assert connects(**own)
    assert connects()  # a program
    assert reaches(host="192.168.1.7:8501")
    assert reaches(host="[::1]:8501", origin="http://[::1]:8501")


@pytest.mark.parametrize("host", ["evil.example:8501", "localhost.evil.example", "[::1", ""])
def test_a_name_that_is_not_ours_is_refused_though_it_is_its_own_origin(host: str) -> None:
    own: dict[str, Any] = {
        "host": host,
        "origin": f"http://{host}",
        "sec_fetch_site": "same-origin",
    }
    assert not reaches(**own)
    assert not reaches("PUT", **own)
    assert not connects(**own)


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:3000", "null"])
def test_pages_of_other_origins_are_refused(origin: str) -> None:
    assert not reaches("PUT", origin=origin)
    assert not reaches(origin=origin)
    assert not connects(origin=origin)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_may_link_here_but_not_embed(site: str) -> None:
    link: dict[str, Any] = {"sec_fetch_site": site, "sec_fetch_mode": "navigate"}
    assert reaches(**link, sec_fetch_dest="document")
    assert not reaches(**link, sec_fetch_dest="iframe")
    assert not reaches("PUT", **link, sec_fetch_dest="document")
    assert not reaches(sec_fetch_site=site, sec_fetch_mode="no-cors", sec_fetch_dest="image")
    assert not connects(sec_fetch_site=site)


def test_names_that_the_operator_gives() -> None:
    hosts = ("draw.example.org", "*.inside.example.org")
    assert reaches(hosts=hosts, host="draw.example.org", origin="https://draw.example.org")
    assert reaches(hosts=hosts, host="a.inside.example.org")
    assert not reaches(hosts=hosts, host="inside.example.com")
    assert reaches(hosts=("*",), host="any.example")


def test_behind_a_proxy_that_hides_the_name() -> None:
    assert connects(("draw.example.org",), origin="https://draw.example.org")
    assert not connects(("draw.example.org",), origin="https://evil.example")
