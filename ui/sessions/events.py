"""The stream of Server-Sent Events that keeps an open page up to date."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from ui.sessions import static_files, views
from ui.sessions.feed import Listener
from ui.sessions.room import Guest, Room, now_ms
from ui.sessions.runner import Runner
from ui.sessions.sessions import Sessions

SILENCE_S = 15.0  # then a heartbeat keeps the connection alive and detects dead ones
PAUSE_S = 0.25  # minimum interval between messages to one page

Invite = Callable[[], str]


def encode(event: str, data: Any) -> bytes:
    """One event in the SSE format."""
    return f"event: {event}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


class Stream:
    """The events for one page of one room: first the whole state, then changes."""

    def __init__(
        self, sessions: Sessions, runner: Runner, room: Room, guest: Guest | None, invite: Invite
    ) -> None:
        self._sessions = sessions
        self._runner = runner
        self._room = room
        self._guest = guest
        self._invite = invite
        self._told: dict[str, Any] = {}  # of the line, at last

    async def messages(self, guest_id: str | None) -> AsyncIterator[bytes]:
        """The endless stream of events; `guest_id` as in `Listener`."""
        yield b"retry: 2000\n\n"
        with self._sessions.feed.listening(self._room.session.id, guest_id) as listener:
            while not self._sessions.feed.is_closed:
                for message in self._news(listener):
                    yield message
                await asyncio.sleep(PAUSE_S)
                while not await listener.wait(SILENCE_S):
                    yield encode("beat", {})

    def _news(self, listener: Listener) -> list[bytes]:
        state, line, moved = listener.take()
        with self._sessions.lock:
            if self._sessions.get(self._room.session.id) is None:
                return [encode("gone", {})]
            if state:
                return [encode("state", self._state(listener.guest_id))]
            news = self._line(listener.guest_id) if line else []
            for picture_id in moved:
                news += self._progress(picture_id, is_wall=listener.guest_id is None)
            return news

    def _state(self, guest_id: str | None) -> dict[str, Any]:
        room = self._room
        extra: dict[str, Any] = {"version": static_files.version(), "now": now_ms()}
        if guest_id is None:
            return views.wall(room) | extra
        if self._guest is None:
            return views.about(room) | extra | {"invitation": self._invite()}
        return views.guest(room, self._guest, self._runner.pace.seconds) | extra

    def _line(self, guest_id: str | None) -> list[bytes]:
        """How the line stands, where that is news to the page."""
        if guest_id == "":  # nobody asks before joining
            return []
        if guest_id is None:
            told: dict[str, Any] = {"waiting": len(self._room.places()[0])}
        else:
            told = views.line(self._room, guest_id, self._runner.pace.seconds)
        if told == self._told:
            return []
        self._told = told
        return [encode("line", told)]

    def _progress(self, picture_id: str, *, is_wall: bool) -> list[bytes]:
        picture = self._room.pictures.get(picture_id)
        if picture is None or not picture.state.is_active:
            return []
        if is_wall and not self._room.is_public(picture):
            return []
        plain = not is_wall or views.is_plain(self._room, picture)
        return [encode("progress", views.progress(picture, plain))]
