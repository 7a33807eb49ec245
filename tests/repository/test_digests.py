"""`make digests` against a registry of our own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts import digests

DIGEST = "sha256:" + "ab" * 32


class Registry(BaseHTTPRequestHandler):
    """Knows one image, and wants a token as public registries do."""

    def do_HEAD(self) -> None:
        host = self.headers["Host"]
        if self.headers["Authorization"] != "Bearer secret":
            self.send_response(401)
            scope = "repository:library/python:pull"
            challenge = f'Bearer realm="http://{host}/token",service="here",scope="{scope}"'
            self.send_header("WWW-Authenticate", challenge)
        elif self.path == "/v2/library/python/manifests/3.11.14-slim":
            self.send_response(200)
            self.send_header("Docker-Content-Digest", DIGEST)
        else:
            self.send_response(404)
        self.end_headers()

    def do_GET(self) -> None:
        assert self.path == "/token?service=here&scope=repository:library/python:pull"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"token": "secret"}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def host() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"localhost:{server.server_port}"
        server.shutdown()


def project(folder: Path, image: str) -> Path:
    for name in digests.FILES:
        (folder / name).write_text(f"ARG BASE={image}\nimage: ours:0.1.0\n", encoding="utf-8")
    return folder


def test_digests_are_written_behind_the_versions_and_renewed(tmp_path: Path, host: str) -> None:
    image = f"{host}/library/python:3.11.14-slim"
    for _ in range(2):
        assert digests.main(project(tmp_path, image)) == 0
        for name in digests.FILES:
            assert f"ARG BASE={image}@{DIGEST}\nimage: ours" in (tmp_path / name).read_text("utf-8")
        image = f"{host}/library/python:3.11.14-slim@sha256:{'0' * 64}"
        project(tmp_path, image)
        image = image.partition("@")[0]


def test_what_cannot_be_asked_stays_and_is_told(
    tmp_path: Path, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for image in (f"{host}/library/python:9", "localhost:1/library/python:3.11"):
        assert digests.main(project(tmp_path, image)) == 3
        assert f"ARG BASE={image}\n" in (tmp_path / "Dockerfile.ui").read_text("utf-8")
        assert "stays as it is" in capsys.readouterr().out


def test_every_image_of_ours_is_found() -> None:
    found = {
        match["name"]
        for name in digests.FILES
        for match in digests.IMAGE.finditer((digests.ROOT / name).read_text("utf-8"))
    }
    assert found == {"library/python", "library/postgres"}
