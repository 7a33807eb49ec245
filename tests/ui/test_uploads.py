import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send
from streamlit import runtime
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from ui import uploads
from ui.uploads import ClosedSessions, UploadLimit


class Runtime:
    """As much of Streamlit's as is asked for."""

    def __init__(self) -> None:
        self.uploaded_file_mgr = MemoryUploadedFileManager("/_stcore/upload_file")
        self.active = {"tab"}

    def is_active_session(self, session_id: str) -> bool:
        return session_id in self.active

    def files(self, session_id: str = "tab") -> list[str]:
        return list(self.uploaded_file_mgr.file_storage.get(session_id, {}))


@pytest.fixture
def streamlit(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    made = Runtime()
    monkeypatch.setattr(runtime, "exists", lambda: True)
    monkeypatch.setattr(runtime, "get_instance", lambda: made)
    return made


@pytest.fixture
def browser(streamlit: Runtime) -> Iterator[TestClient]:
    async def put(request: Request) -> PlainTextResponse:
        params, data = request.path_params, await request.body()
        record = UploadedFileRec(params["file"], "name", "image/png", data)
        streamlit.uploaded_file_mgr.add_file(params["session"], record)
        return PlainTextResponse("", 204)

    path = "/app/_stcore/upload_file/{session}/{file}"
    app = Starlette(
        routes=[Route(path, put, methods=["PUT"])], middleware=[Middleware(UploadLimit)]
    )
    with TestClient(app) as client:
        yield client


def upload(browser: TestClient, name: str, session: str = "tab") -> int:
    path = f"/app/_stcore/upload_file/{session}/{name}"
    return int(browser.put(path, content=b"x" * 1000).status_code)


def test_a_session_keeps_its_newest_files(browser: TestClient, streamlit: Runtime) -> None:
    for number in range(40):
        assert upload(browser, f"f{number}") == 204
    assert streamlit.files() == ["f36", "f37", "f38", "f39"]


def test_all_sessions_together_have_a_limit(
    browser: TestClient, streamlit: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_BYTES", 5000)
    codes = [upload(browser, "f", f"tab{number}") for number in range(8)]
    assert codes == [204] * 5 + [503] * 3
    streamlit.uploaded_file_mgr.remove_session_files("tab0")
    assert upload(browser, "f", "tab9") == 204


async def test_so_many_at_once_and_no_more(
    streamlit: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_AT_ONCE", 2)
    go_on, codes = asyncio.Event(), list[int]()

    async def slow(_scope: Scope, _receive: Receive, send: Send) -> None:
        await go_on.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            codes.append(message["status"])

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    limit = UploadLimit(slow)
    scope = {"type": "http", "method": "PUT", "path": "/_stcore/upload_file/tab/f"}
    calls = [asyncio.create_task(limit(scope, receive, send)) for _ in range(3)]
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(*calls)
    await limit(scope, receive, send)
    assert codes == [503, 204, 204, 204]


def test_a_closed_tab_s_files_are_forgotten_after_a_while(
    streamlit: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager: Any = streamlit.uploaded_file_mgr
    for session in ("tab", "closed"):
        manager.add_file(session, UploadedFileRec("f", "name", "image/png", b"x"))
    closed = ClosedSessions()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    closed.forget_files()
    assert streamlit.files("closed") == ["f"]
    now += uploads.CLOSED_S / 2
    streamlit.active.add("closed")  # it came back
    closed.forget_files()
    streamlit.active.remove("closed")
    now += uploads.CLOSED_S
    closed.forget_files()
    assert streamlit.files("closed") == ["f"]
    now += uploads.CLOSED_S + 1
    closed.forget_files()
    assert streamlit.files("closed") == []
    assert streamlit.files("tab") == ["f"]


def test_without_streamlit_there_is_nothing_to_forget() -> None:
    ClosedSessions().forget_files()
