"""Streamlit's own files: small on the wire, and kept by the browser."""

import gzip
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from streamlit import file_util

from ui.packed_static import PackedStatic

STATIC = Path(file_util.get_static_dir()) / "static"
FIRST_VISIT_BYTES = 2_500_000


def browser(base: str = "") -> TestClient:
    async def streamlit(_request: object) -> PlainTextResponse:
        return PlainTextResponse("Streamlit's")

    app = Starlette(
        routes=[Route("/{path:path}", streamlit)],
        middleware=[Middleware(PackedStatic, base=base)],
    )
    return TestClient(app)


@pytest.mark.parametrize("base", ["", "/app"])
def test_the_main_script_comes_packed_whole_and_is_kept(base: str) -> None:
    script = max(STATIC.glob("js/index.*.js"), key=lambda path: path.stat().st_size)
    visitor = browser(base)
    with visitor.stream("GET", f"{base}/static/js/{script.name}") as answer:
        packed = b"".join(answer.iter_raw())
    assert gzip.decompress(packed) == script.read_bytes()
    assert len(packed) < min(FIRST_VISIT_BYTES, script.stat().st_size * 0.4)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "javascript" in answer.headers["content-type"]


@pytest.mark.parametrize(
    "path",
    ["/", "/static/js/none.js", "/static/../index.html", "/static/%2e%2e/manifest.json"],
)
def test_all_else_is_streamlit_s_own(path: str) -> None:
    assert browser().get(path).text == "Streamlit's"


def test_who_takes_no_gzip_gets_none() -> None:
    script = next(STATIC.glob("js/index.*.js")).name
    for headers in ({"Accept-Encoding": "identity"}, {"Range": "bytes=0-5"}):
        answer = browser().get(f"/static/js/{script}", headers=headers)
        assert answer.text == "Streamlit's"
