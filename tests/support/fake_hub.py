"""A Hugging Face hub on the loopback: enough of its HTTP interface to fetch one model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """Serves the files of `folder` as the repository `model`, and remembers what was fetched."""

    def __init__(self, folder: Path, model: str) -> None:
        self.folder = folder
        self.model = model
        self.fetched: list[str] = []
        self.status = 200
        self.endpoint = ""

    @contextmanager
    def serve(self) -> Iterator[FakeHub]:
        """Listen on a free port for as long as the block lasts."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def files(self) -> list[str]:
        """Paths of all files, below the folder."""
        return sorted(
            path.relative_to(self.folder).as_posix()
            for path in self.folder.rglob("*")
            if path.is_file()
        )


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if hub.status != 200:
                self._refuse(hub.status)
            elif path.startswith(f"/api/models/{hub.model}/tree/"):
                self._say([self._entry(name) for name in hub.files()])
            elif path.startswith(f"/api/models/{hub.model}"):
                self._say(
                    {
                        "id": hub.model,
                        "sha": COMMIT,
                        "siblings": [{"rfilename": name} for name in hub.files()],
                    }
                )
            else:
                self._file(path)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

        def _entry(self, name: str) -> dict[str, object]:
            content = (hub.folder / name).read_bytes()
            oid = hashlib.sha1(content).hexdigest()
            return {"type": "file", "path": name, "size": len(content), "oid": oid}

        def _say(self, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _refuse(self, status: int) -> None:
            self.send_response(status)
            reasons = {404: "RepoNotFound", 403: "GatedRepo"}
            self.send_header("X-Error-Code", reasons.get(status, ""))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _file(self, path: str) -> None:
            name = path.partition("/resolve/")[2].partition("/")[2]
            file = hub.folder / name
            if not name or not file.is_file():
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = file.read_bytes()
            if self.command == "GET":
                hub.fetched.append(name)
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

    return Handler
