"""Tells open pages what has changed: each listens with one stream of server-sent events."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

MAX_LISTENERS = 2000


class Listener:
    """One open page. `guest_id` None is a wall, "" somebody who has not joined."""

    def __init__(self, guest_id: str | None) -> None:
        self.guest_id = guest_id
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._lock = threading.Lock()
        self._state = True  # to be sent whole
        self._line = False
        self._progress: set[str] = set()

    async def wait(self, seconds: float) -> bool:
        """Until something has changed; False where nothing has within that time."""
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def take(self) -> tuple[bool, bool, set[str]]:
        """What to send: the state, the line, and the progress of which pictures."""
        self._woken.clear()
        with self._lock:
            taken = self._state, self._line, self._progress
            self._state, self._line, self._progress = False, False, set()
        return taken

    def tell(self, *, state: bool = False, line: bool = False, picture_id: str = "") -> None:
        """Note what has changed, from any thread."""
        with self._lock:
            self._state |= state
            self._line |= line
            if picture_id:
                self._progress.add(picture_id)
        try:
            self._loop.call_soon_threadsafe(self._woken.set)
        except RuntimeError:  # the loop has ended, and the page with it
            return


class Feed:
    """Who listens to which session. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, set[Listener]] = defaultdict(set)
        self._moved: set[str] = set()  # sessions whose line has moved since the last beat
        self._lock = threading.Lock()

    @contextmanager
    def listening(self, session_id: str, guest_id: str | None) -> Iterator[Listener]:
        """A listener for as long as the block lasts, within an event loop."""
        listener = Listener(guest_id)
        with self._lock:
            self._listeners[session_id].add(listener)
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners[session_id].discard(listener)
                if not self._listeners[session_id]:
                    del self._listeners[session_id]

    def total(self) -> int:
        """How many pages are open, of all sessions."""
        with self._lock:
            return sum(map(len, self._listeners.values()))

    def everybody(self, session_id: str) -> None:
        """The session itself has changed."""
        for listener in self._of(session_id):
            listener.tell(state=True)

    def guest(self, session_id: str, guest_id: str) -> None:
        """A guest's pictures have changed: tell the guest and the walls, the others in a while."""
        with self._lock:
            self._moved.add(session_id)
        for listener in self._of(session_id):
            if listener.guest_id in (None, guest_id):
                listener.tell(state=True)

    def moved_everywhere(self) -> None:
        """Tell all of all lines, with the next beat."""
        with self._lock:
            self._moved |= set(self._listeners)

    def progress(self, session_id: str, guest_id: str, picture_id: str) -> None:
        for listener in self._of(session_id):
            if listener.guest_id in (None, guest_id):
                listener.tell(picture_id=picture_id)

    def beat(self) -> None:
        """Tell everybody whose line has moved; called about once a second."""
        with self._lock:
            moved, self._moved = self._moved, set()
        for session_id in moved:
            for listener in self._of(session_id):
                listener.tell(line=True)

    def _of(self, session_id: str) -> list[Listener]:
        with self._lock:
            return list(self._listeners.get(session_id, ()))
