"""The style sheet's link in every page, and nothing else changed."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ui.preloads import preloads
from ui.styled_page import LINK, STYLE, StyledPage, style_route

PAGE = "<html><head><title>x</title></head><body>" + "y" * 2000 + "</body></html>"
BROWSER = {"Accept": "text/html,*/*"}


def page(_request: Request) -> Response:
    return HTMLResponse(PAGE, headers={"ETag": '"a"'})


def pieces(_request: Request) -> Response:
    return StreamingResponse(
        (PAGE[i : i + 7] for i in range(0, len(PAGE), 7)), 200, None, "text/html"
    )


def plain(_request: Request) -> Response:
    return Response("</head>", media_type="text/plain")


def missing(_request: Request) -> Response:
    return HTMLResponse("</head>", 404)


def visitor() -> TestClient:
    routes = [
        Route("/", page),
        Route("/pieces", pieces),
        Route("/plain", plain),
        Route("/missing", missing),
        style_route(),
    ]
    middleware = [Middleware(StyledPage), Middleware(GZipMiddleware, minimum_size=100)]
    return TestClient(Starlette(routes=routes, middleware=middleware))


def test_every_page_names_the_style_sheet() -> None:
    expected = PAGE.replace("</head>", f"{LINK}{preloads()}</head>")
    for path in ("/", "/pieces"):
        answer = visitor().get(path, headers=BROWSER | {"If-None-Match": '"a"'})
        assert answer.text == expected
        assert answer.headers.get("content-length", str(len(expected))) == str(len(expected))
        assert "etag" not in answer.headers


def test_whatever_is_no_page_stays_as_it_is() -> None:
    client = visitor()
    assert client.get("/plain", headers=BROWSER).text == "</head>"
    assert client.get("/missing", headers=BROWSER).text == "</head>"
    assert client.get("/", headers={"Accept": "application/json"}).text == PAGE


def test_the_sheet_is_kept_for_ever_under_its_content() -> None:
    address = LINK.split('"')[3].removeprefix(".")
    answer = visitor().get(address)
    assert answer.text == STYLE
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/css")
