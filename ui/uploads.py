"""Limits the memory of uploads, which Streamlit keeps as long as their session."""

from __future__ import annotations

import time
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import runtime

PATH = "/_stcore/upload_file/"
FILES_PER_SESSION = 4  # no page has more drop zones
MAX_BYTES = 256 * 2**20  # in total
MAX_AT_ONCE = 8
CLOSED_S = 120.0  # a tab may disconnect this long without losing its files
BUSY = "Too many files are being uploaded. Try again in a minute."


class UploadLimit:
    """Limits concurrent uploads, and drops a session's oldest files for new ones."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_upload = scope["type"] == "http" and scope["method"] in ("PUT", "POST")
        if not is_upload or PATH not in scope["path"]:
            await self._app(scope, receive, send)
            return
        session_id = scope["path"].partition(PATH)[2].partition("/")[0]
        if self._under_way >= MAX_AT_ONCE or not _make_room(session_id):
            answer = PlainTextResponse(BUSY, 503, headers={"Retry-After": "60"})
            await answer(scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way -= 1


class ClosedSessions:
    """Frees the files of closed tabs."""

    def __init__(self) -> None:
        self._closed_since: dict[str, float] = {}

    def forget_files(self) -> None:
        """Free the files of closed tabs; call it every few seconds."""
        if not runtime.exists():
            return
        manager, now = _manager(), time.monotonic()
        closed = [i for i in _sessions(manager) if not runtime.get_instance().is_active_session(i)]
        self._closed_since = {i: self._closed_since.get(i, now) for i in closed}
        for session_id, since in self._closed_since.items():
            if now - since > CLOSED_S:
                manager.remove_session_files(session_id)


def _make_room(session_id: str) -> bool:
    """Drop the session's oldest files; returns whether another file fits into memory."""
    manager = _manager()
    of_session = list(manager.file_storage.get(session_id, {}))
    for file_id in of_session[: max(0, len(of_session) - FILES_PER_SESSION + 1)]:
        manager.remove_file(session_id, file_id)
    return _bytes_held(manager) < MAX_BYTES


def _bytes_held(manager: Any) -> int:
    files = (file for i in _sessions(manager) for file in list(manager.file_storage[i].values()))
    return sum(len(file.data) for file in files)


def _sessions(manager: Any) -> list[str]:
    return list(manager.file_storage)


def _manager() -> Any:
    """Streamlit's store of files, by session and file."""
    return runtime.get_instance().uploaded_file_mgr
