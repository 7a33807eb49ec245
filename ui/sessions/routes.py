"""HTTP routes of wall and guest page: pages, event streams, pictures, and guests' actions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from ui.sessions import static_files
from ui.sessions.answers import POLICY, html_page, problem, qr_svg, refused
from ui.sessions.asking import Refused
from ui.sessions.codes import normalized
from ui.sessions.events import Stream
from ui.sessions.feed import MAX_LISTENERS
from ui.sessions.guesses import ASKED, JOINED, WRONG_CODES, Guesses
from ui.sessions.passes import PASS_S, Passes, guest_cookie
from ui.sessions.room import SHORT_ID, Guest, GuestPicture, Room
from ui.sessions.runner import Runner
from ui.sessions.sessions import Sessions
from ui.storage.files import MIME_TYPES, PictureFiles, is_picture_id

FOR_EVER = "public, max-age=31536000, immutable"
MAX_BODY_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Shared:
    """What the routes need; created once the database is open."""

    sessions: Sessions
    runner: Runner
    files: PictureFiles


class SessionRoutes:
    """The routes. They need no password, so they trust no input."""

    def __init__(
        self, shared: Callable[[], Shared], passes: Passes, guesses: Guesses, base: str = ""
    ) -> None:
        self._shared = shared
        self._passes = passes
        self._guesses = guesses
        self._base = base

    def routes(self) -> list[Route]:
        base = self._base
        return [
            Route(f"{base}/wall", lambda _request: html_page("wall.html")),
            Route(f"{base}/join", lambda _request: html_page("guest.html")),
            Route(f"{base}/s/file/{{name}}", _static),
            Route(f"{base}/s/qr", self._qr),
            Route(f"{base}/s/events/wall", self._wall_events),
            Route(f"{base}/s/events/guest", self._guest_events),
            Route(f"{base}/s/picture/{{id}}/{{kind}}", self._picture),
            Route(f"{base}/s/p/{{code}}/{{start}}", self._short),
            Route(f"{base}/s/join", self._join, methods=["POST"]),
            Route(f"{base}/s/ask", self._ask, methods=["POST"]),
            Route(f"{base}/s/cancel", self._cancel, methods=["POST"]),
            Route(f"{base}/s/{{path:path}}", _nothing),
        ]

    async def _wall_events(self, request: Request) -> Response:
        room = self._room(request)
        if isinstance(room, Response):
            return room
        return self._stream(room, None, None)

    async def _guest_events(self, request: Request) -> Response:
        room = self._room(request)
        if isinstance(room, Response):
            return room
        guest = self._guest(request, room)
        return self._stream(room, guest, guest.id if guest else "")

    def _stream(self, room: Room, guest: Guest | None, guest_id: str | None) -> Response:
        shared = self._shared()
        if shared.sessions.feed.total() >= MAX_LISTENERS:
            return problem(503, "busy", "Too many people are here at once. Try again in a moment.")
        invite = lambda: self._passes.invitation(room.session.id)  # noqa: E731
        stream = Stream(shared.sessions, shared.runner, room, guest, invite)
        return StreamingResponse(
            stream.messages(guest_id),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    def _qr(self, request: Request) -> Response:
        room = self._room(request)
        if isinstance(room, Response):
            return room
        link = room.session.join_link
        if "picture" in request.query_params:
            picture = self._on_wall(room, request.query_params["picture"])
            if picture is None:
                return problem(404, "picture", "There is no such picture.")
            link = room.session.picture_link(picture.id)
        return Response(
            qr_svg(link),
            media_type="image/svg+xml",
            headers={"Cache-Control": "no-store", "Content-Security-Policy": POLICY},
        )

    def _short(self, request: Request) -> Response:
        """The short link of a picture on the wall."""
        room = self._room(request, {"code": request.path_params["code"]})
        if isinstance(room, Response):
            return room
        picture = self._on_wall(room, request.path_params["start"])
        if picture is None:
            return problem(404, "picture", "This picture is not on the wall any more.")
        full = f"{self._base}/s/picture/{picture.id}/full?code={room.session.code}"
        return RedirectResponse(full, 303, {"Cache-Control": "no-store"})

    def _on_wall(self, room: Room, start: str) -> GuestPicture | None:
        """The picture on the wall whose id starts so."""
        if len(start) < SHORT_ID:
            return None
        with self._shared().sessions.lock:
            return next((p for p in room.on_wall() if p.id.startswith(start)), None)

    def _picture(self, request: Request) -> Response:
        """A picture, for its guest always, and for others with the code while it is on the wall."""
        room = self._room(request)
        if isinstance(room, Response):
            return room
        shared = self._shared()
        with shared.sessions.lock:
            picture = room.pictures.get(request.path_params["id"])
            guest = self._guest(request, room)
            is_own = picture is not None and guest is not None and picture.guest_id == guest.id
            if picture is None or not (is_own or room.is_on_wall(picture)):
                return problem(404, "picture", "There is no such picture.")
        if not is_picture_id(picture.id):
            return problem(404, "picture", "There is no such picture.")
        kind = request.path_params["kind"]
        path = (shared.files.thumbnail if kind == "thumb" else shared.files.original)(picture.id)
        if path is None:
            return problem(404, "picture", "There is no such picture.")
        mime_type = MIME_TYPES.get("".join(path.suffixes), "image/webp")
        headers = {"Cache-Control": "private, max-age=3600"}
        name = f"inkling-{picture.id[:8]}{path.suffix}" if kind == "download" else None
        return FileResponse(path, media_type=mime_type, headers=headers, filename=name)

    async def _join(self, request: Request) -> Response:
        body = await _body(request)
        room = self._room(request, body)
        if isinstance(room, Response):
            return room
        known = self._guest(request, room)
        if known is not None:
            return JSONResponse({"nickname": known.nickname})
        guest_id = self._passes.invited(room.session.id, _text(body, "invitation"))
        if guest_id is None:
            return problem(403, "invitation", "This page was open for too long. Try again.")
        if not self._guesses.count(JOINED, _peer(request)):
            return problem(429, "busy", "Too many people join from here at once. Wait a little.")
        consents = body.get("consents") is True
        sessions = self._shared().sessions
        try:
            guest = await run_in_threadpool(
                sessions.join, room, guest_id, _text(body, "nickname"), consents
            )
        except Refused as refusal:
            return refused(refusal)
        answer = JSONResponse({"nickname": guest.nickname})
        answer.set_cookie(
            guest_cookie(room.session.id),
            self._passes.guest(room.session.id, guest.id),
            max_age=PASS_S,
            path=self._base or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )
        return answer

    async def _ask(self, request: Request) -> Response:
        body = await _body(request)
        room = self._room(request, body)
        if isinstance(room, Response):
            return room
        guest = self._guest(request, room)
        if guest is None:
            return problem(401, "unknown", "Join first.")
        if not self._guesses.count(ASKED, guest.id):
            return problem(429, "busy", "That was a little fast. Try again in a moment.")
        count = body.get("count", 1)
        try:
            asked = await run_in_threadpool(
                self._shared().sessions.ask,
                room,
                guest,
                _text(body, "prompt"),
                _size(_text(body, "size")),
                count if type(count) is int else 0,
            )
        except Refused as refusal:
            return refused(refusal)
        return JSONResponse({"ids": [picture.id for picture in asked]})

    async def _cancel(self, request: Request) -> Response:
        body = await _body(request)
        room = self._room(request, body)
        if isinstance(room, Response):
            return room
        guest = self._guest(request, room)
        if guest is None:
            return problem(401, "unknown", "Join first.")
        cancel = self._shared().sessions.cancel
        await run_in_threadpool(cancel, room, guest, _text(body, "id"))
        return JSONResponse({})

    def _room(self, request: Request, body: dict[str, Any] | None = None) -> Room | Response:
        """The room of the request's code, or a refusal; wrong codes are counted."""
        peer = _peer(request)
        code = normalized(_text(body, "code") if body else request.query_params.get("code", ""))
        room = self._shared().sessions.by_code(code) if code else None
        if room is not None and self._guest(request, room) is not None:
            return room
        if not self._guesses.may(WRONG_CODES, peer):
            return problem(429, "guesses", "Too many wrong codes. Wait a minute, then try again.")
        if room is None:
            self._guesses.count(WRONG_CODES, peer)
            return problem(404, "code", "There is no session with this code.")
        return room

    def _guest(self, request: Request, room: Room) -> Guest | None:
        cookie = request.cookies.get(guest_cookie(room.session.id))
        return room.guests.get(self._passes.guest_of(room.session.id, cookie) or "")


def _nothing(_request: Request) -> Response:
    return problem(404, "address", "There is nothing here.")


def _static(request: Request) -> Response:
    found = static_files.files().get(request.path_params["name"])
    if found is None:
        return problem(404, "file", "There is no such file.")
    content, mime_type = found
    return Response(content, media_type=mime_type, headers={"Cache-Control": FOR_EVER})


async def _body(request: Request) -> dict[str, Any]:
    """A small JSON object; an empty one if it is invalid, so that missing fields are refused."""
    read = b""
    async for part in request.stream():
        read += part
        if len(read) > MAX_BODY_BYTES:
            return {}
    try:
        value = json.loads(read)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""


def _size(text: str) -> tuple[int, int] | None:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and len(text) < 12):
        return None
    return int(width), int(height)


def _peer(request: Request) -> str:
    return request.client.host if request.client else "unknown"
