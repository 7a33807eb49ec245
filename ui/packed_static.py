"""Streamlit's scripts and styles, packed once: it sends them as large as they are."""

from __future__ import annotations

import gzip
import mimetypes
from pathlib import Path

from anyio import to_thread
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import file_util

PREFIX = "/static/"
PACKED = (".js", ".css", ".svg", ".json", ".wasm")
LEVEL = 9  # once for each file and process
# Their names carry a hash of their contents.
HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Encoding": "gzip",
    "Vary": "Accept-Encoding",
}


class PackedStatic:
    """Answers for those files where the browser takes gzip; all else goes on to Streamlit."""

    def __init__(self, app: ASGIApp, base: str = "", folder: Path | None = None) -> None:
        self._app = app
        self._prefix = f"{base}{PREFIX}"
        self._folder = (folder or Path(file_util.get_static_dir())) / "static"
        self._packed: dict[Path, bytes] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = self._path(scope)
        if path is None:
            await self._app(scope, receive, send)
            return
        if path not in self._packed:
            data = await to_thread.run_sync(path.read_bytes)
            self._packed[path] = await to_thread.run_sync(gzip.compress, data, LEVEL)
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        await Response(self._packed[path], 200, HEADERS, media_type)(scope, receive, send)

    def _path(self, scope: Scope) -> Path | None:
        """The file that is asked for, if it is one of these."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            return None
        headers = Headers(scope=scope)
        if "gzip" not in headers.get("accept-encoding", "") or "range" in headers:
            return None
        name = scope["path"].removeprefix(self._prefix)
        if name == scope["path"] or ".." in name or "\\" in name or "\0" in name:
            return None
        path = self._folder / name.lstrip("/")
        return path if path.suffix in PACKED and path.is_file() else None
