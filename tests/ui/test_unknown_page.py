"""An address without a page leads to the studio, and what is no page stays as it is."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from ui.unknown_page import UnknownPage

BROWSER = {"Accept": "text/html,*/*"}


def app(_request: Request) -> Response:
    return HTMLResponse("<html><head></head><body>app</body></html>")


def own(_request: Request) -> Response:
    return HTMLResponse("wall")


def missing(_request: Request) -> Response:
    return HTMLResponse("missing", 404)


def visitor(base: str = "") -> TestClient:
    routes = [Route(f"{base}/wall", own), Route(f"{base}/missing", missing)]
    middleware = [Middleware(UnknownPage, routes=routes, base=base)]
    everything = Starlette(routes=[*routes, Route("/{path:path}", app)], middleware=middleware)
    return TestClient(everything, follow_redirects=False)


@pytest.mark.parametrize("base", ["", "/below"])
def test_an_unknown_address_leads_to_the_studio_which_is_told(base: str) -> None:
    for path, place in (
        ("/no-such-page", "/?nowhere=no-such-page"),
        ("/gallery/further", "/?nowhere=gallery%2Ffurther"),
        ("/" + "x" * 90, "/?nowhere=" + "x" * 60),
        ("/studio", "/"),
    ):
        answer = visitor(base).get(f"{base}{path}", headers=BROWSER)
        assert (answer.status_code, answer.headers["location"]) == (307, f"{base}{place}")
        assert answer.content == b""


@pytest.mark.parametrize("base", ["", "/below"])
def test_pages_and_what_is_no_page_are_served(base: str) -> None:
    client = visitor(base)
    for path in ("/", "/gallery", "/status", "/sessions/"):
        assert "app" in client.get(f"{base}{path}", headers=BROWSER).text
    assert client.get(f"{base}/wall", headers=BROWSER).text == "wall"
    assert client.get(f"{base}/missing", headers=BROWSER).status_code == 404
    assert "app" in client.get(f"{base}/anything", headers={"Accept": "*/*"}).text
