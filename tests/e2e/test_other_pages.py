"""Pages of another site in a real browser: they reach neither the backend nor the studio."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest
from playwright.sync_api import Page, Playwright

from client import Text2ImageClient
from tests.e2e.browsing import launch_options
from tests.e2e.processes import Studio
from tests.support.ports import free_port
from tests.support.process import BackendProcess

STREAM = "/text2image.Text2ImageService/StreamGenerateImage"
MESSAGE = quote('{"prompt":"a fox","numInferenceSteps":3}')
DRAW = f"{STREAM}?message={MESSAGE}"
EVIL = "evil.example"

# How a page can send a request that its browser would not ask permission for.
DRIVE_BY = {
    "an image": """new Promise(r => {{ const e = new Image(); e.onload = e.onerror = r;
        e.src = '{}' }})""",
    "an iframe": """new Promise(r => {{ const e = document.createElement('iframe'); e.onload = r;
        e.src = '{}'; document.body.append(e) }})""",
    "a fetch without CORS": "fetch('{}', {{mode: 'no-cors'}}).catch(() => null)",
    "a fetch that says what it accepts": """fetch('{}', {{mode: 'no-cors',
        headers: {{Accept: 'text/event-stream'}}, referrerPolicy: 'no-referrer'}})
        .catch(() => null)""",
    "a form": """new Promise(r => {{ const f = document.createElement('form'); f.method = 'post';
        f.enctype = 'text/plain'; f.action = '{}'; f.target = 'hidden';
        const e = document.createElement('iframe'); e.name = 'hidden'; e.onload = r;
        document.body.append(e, f); f.submit() }})""",
}


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    folder = tmp_path_factory.mktemp("backend")
    module = "tests.support.fake_backend"
    with BackendProcess(folder / "log", module, HTTP_PORT=free_port()) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def studio(backend: BackendProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Open to the network, as behind a router; started without a word about the address."""
    environ = {"TEXT2IMAGE_UI_HOST": "0.0.0.0"}
    made = Studio(tmp_path_factory.mktemp("studio"), backend.address, environ)
    made.start()
    made.wait_ready()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def evil_port() -> Iterator[int]:
    """Where another site's page comes from."""

    class Blank(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>evil</title>")

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Blank) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def page(playwright: Playwright) -> Iterator[Page]:
    """In a browser for which the other site's name leads to this machine, as by DNS rebinding."""
    options: dict[str, Any] = dict(launch_options())
    options["args"] = [*options.get("args", []), f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"]
    browser = playwright.chromium.launch(**options)
    yield browser.new_page()
    browser.close()


def received(backend: BackendProcess) -> int:
    with Text2ImageClient(backend.address) as client:
        return client.status().counters.received


@pytest.mark.parametrize("how", DRIVE_BY)
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_page_elsewhere_draws_nothing(
    page: Page, evil_port: int, backend: BackendProcess, how: str, name: str
) -> None:
    before = received(backend)
    page.goto(f"http://{EVIL}:{evil_port}/")
    page.evaluate(DRIVE_BY[how].format(f"http://{name}:{backend.http_port}{DRAW}"))
    assert received(backend) == before


def test_a_program_and_a_person_draw(page: Page, backend: BackendProcess) -> None:
    before = received(backend)
    url = f"http://localhost:{backend.http_port}{DRAW}"
    assert "event: done" in httpx.get(url, trust_env=False, timeout=30).text
    page.goto(url)  # typed into the address bar
    assert received(backend) == before + 2


def test_a_name_rebound_to_this_machine_reaches_neither(
    page: Page, backend: BackendProcess, studio: Studio
) -> None:
    before = received(backend)
    for port in (backend.http_port, studio.port):
        answer = page.goto(f"http://{EVIL}:{port}/")
        assert answer is not None
        assert answer.status == 403
        told = page.evaluate(f"fetch('{DRAW}').then(r => r.status)")
        assert told == 403
        assert websocket(page, f"ws://{EVIL}:{port}/_stcore/stream") == "refused"
    assert received(backend) == before


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_the_studio_is_closed_to_pages_elsewhere(
    page: Page, evil_port: int, studio: Studio, name: str
) -> None:
    page.goto(f"http://{EVIL}:{evil_port}/")
    assert websocket(page, f"ws://{name}:{studio.port}/_stcore/stream") == "refused"
    page.goto(f"http://{name}:{studio.port}/")
    assert websocket(page, f"ws://{name}:{studio.port}/_stcore/stream") == "open"


def websocket(page: Page, url: str) -> str:
    """Whether this page may connect there."""
    return str(
        page.evaluate(
            """url => new Promise(tell => {
                const socket = new WebSocket(url, ["streamlit"]);
                socket.onopen = () => { socket.close(); tell("open") };
                socket.onerror = () => tell("refused");
            })""",
            url,
        )
    )


def test_a_studio_that_is_opened_to_the_network_has_one_listener_that_answers(
    studio: Studio,
) -> None:
    listening = [
        (connection.laddr.ip, connection.laddr.port)
        for connection in psutil.Process(studio.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == [("0.0.0.0", studio.port)]
    assert httpx.get(studio.url, trust_env=False).status_code == 200
