"""Notifies open pages of changes; each page listens with one Server-Sent Events stream."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

MAX_LISTENERS = 2000
LINES_PER_BEAT = 100  # guests told about the queue at once: hundreds would delay the pictures


class Listener:
    """One open page. `guest_id` None: a wall; "": a visitor who has not joined."""

    def __init__(self, guest_id: str | None) -> None:
        self.guest_id = guest_id
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._lock = threading.Lock()
        self._state = True  # send the whole state first
        self._line = False
        self._progress: set[str] = set()

    async def wait(self, seconds: float) -> bool:
        """Wait for a change; returns False after a timeout."""
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def take(self) -> tuple[bool, bool, set[str]]:
        """What to send, and reset: the whole state, the queue, and the pictures with progress."""
        self._woken.clear()
        with self._lock:
            taken = self._state, self._line, self._progress
            self._state, self._line, self._progress = False, False, set()
        return taken

    def tell(self, *, state: bool = False, line: bool = False, picture_id: str = "") -> None:
        """Record a change and wake the listener. Thread-safe."""
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
    """The listeners of all sessions. Thread-safe, except `listening`."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, set[Listener]] = defaultdict(set)
        self._moved: set[str] = set()  # sessions whose queue changed since the last beat
        self._due: dict[Listener, None] = {}  # guests to tell about it, in turn
        self._lock = threading.Lock()
        self.is_closed = False

    def close(self) -> None:
        """End all streams: a server that shuts down waits for its last answer."""
        self.is_closed = True
        with self._lock:
            listeners = [one for found in self._listeners.values() for one in found]
        for listener in listeners:
            listener.tell()

    @contextmanager
    def listening(self, session_id: str, guest_id: str | None) -> Iterator[Listener]:
        """Register a listener during a `with` block, on an event loop."""
        listener = Listener(guest_id)
        with self._lock:
            self._listeners[session_id].add(listener)
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners[session_id].discard(listener)
                self._due.pop(listener, None)
                if not self._listeners[session_id]:
                    del self._listeners[session_id]

    def total(self) -> int:
        """Number of open pages of all sessions."""
        with self._lock:
            return sum(map(len, self._listeners.values()))

    def everybody(self, session_id: str) -> None:
        """Notify all pages that the session has changed."""
        for listener in self._of(session_id):
            listener.tell(state=True)

    def guest(self, session_id: str, guest_id: str) -> None:
        """A guest's pictures have changed: notify guest and walls now, others later."""
        with self._lock:
            self._moved.add(session_id)
        for listener in self._of(session_id):
            if listener.guest_id in (None, guest_id):
                listener.tell(state=True)

    def moved_everywhere(self) -> None:
        """Notify all pages about their queue with the next beat."""
        with self._lock:
            self._moved |= set(self._listeners)

    def progress(self, session_id: str, guest_id: str, picture_id: str) -> None:
        for listener in self._of(session_id):
            if listener.guest_id in (None, guest_id):
                listener.tell(picture_id=picture_id)

    def beat(self) -> None:
        """Notify the pages whose queue has changed; called about once a second.

        Walls always, of the guests so many at a time, in turn.
        """
        with self._lock:
            moved, self._moved = self._moved, set()
            changed = [one for session_id in moved for one in self._listeners.get(session_id, ())]
            self._due |= dict.fromkeys(one for one in changed if one.guest_id)
            now = list(self._due)[:LINES_PER_BEAT]
            for listener in now:
                del self._due[listener]
        for listener in (*(one for one in changed if one.guest_id is None), *now):
            listener.tell(line=True)

    def _of(self, session_id: str) -> list[Listener]:
        with self._lock:
            return list(self._listeners.get(session_id, ()))
