"""All demo sessions of this studio, and the actions of hosts and guests."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import IntegrityError

from ui.recipe import UNKNOWN, Abilities, Recipe
from ui.sessions.asking import Refused, check_may_ask, nickname_of, recipe_of, tidy
from ui.sessions.codes import new_code
from ui.sessions.feed import Feed
from ui.sessions.room import Guest, GuestPicture, PictureState, Room, Session, Verdict, line, now_ms
from ui.sessions.rules import Rules
from ui.sessions.store import Store
from ui.storage.gallery import Gallery

MAX_NAME = 80
MAX_THEME = 200
MAX_GUESTS = 2000
RANDOM_SEED_BELOW = 2**32


class Sessions:
    """Rooms in memory; every change is also written to the database. Thread-safe."""

    def __init__(
        self, store: Store, gallery: Gallery, abilities: Callable[[], Abilities] = lambda: UNKNOWN
    ) -> None:
        self._store = store
        self._gallery = gallery
        self._abilities = abilities
        self._rooms = {room.session.id: room for room in store.load()}
        self.lock = threading.RLock()
        # Held while rows are added; `lock`, for which all open pages wait, is free meanwhile.
        self._adding = threading.Lock()
        self.work = threading.Condition(self.lock)  # notified when there may be work
        self.feed = Feed()

    # Queries.

    def all(self) -> list[Room]:
        """All sessions, the newest first."""
        with self.lock:
            return sorted(self._rooms.values(), key=lambda r: r.session.created_at, reverse=True)

    def get(self, session_id: str) -> Room | None:
        return self._rooms.get(session_id)

    def by_code(self, code: str | None) -> Room | None:
        with self.lock:
            found = (room for room in self._rooms.values() if room.session.code == code)
            return next(found, None)

    def next_pictures(self) -> list[GuestPicture]:
        """The queue over all sessions that are not paused."""
        with self.lock:
            return line([room for room in self._rooms.values() if not room.session.paused])

    # Hosts' actions.

    def start(self, owner: str, name: str, theme: str, rules: Rules, minutes: int) -> Room:
        """Start a session that ends after `minutes`."""
        now = now_ms()
        session = Session(
            id=uuid.uuid4().hex,
            owner=owner,
            code=new_code(),
            name=tidy(name, MAX_NAME) or "Demo session",
            theme=tidy(theme, MAX_THEME),
            rules=rules,
            paused=False,
            created_at=now,
            ends_at=now + minutes * 60_000,
        )
        with self.lock:
            self._store.add(session)
            self._rooms[session.id] = Room(session)
            return self._rooms[session.id]

    def change(
        self,
        session_id: str,
        *,
        rules: Rules | None = None,
        paused: bool | None = None,
        ends_at: int | None = None,
    ) -> None:
        """Change limits, pause, resume, extend or end a session."""
        with self._changing(session_id) as room:
            session = room.session
            session.rules = rules or session.rules
            session.paused = session.paused if paused is None else paused
            session.ends_at = session.ends_at if ends_at is None else ends_at
            self._store.change(session)
            self.work.notify_all()

    def judge(self, session_id: str, picture_ids: Iterable[str], verdict: Verdict) -> None:
        """Approve or hide pictures, including shown and unfinished ones."""
        with self._changing(session_id) as room:
            found = [room.pictures[i] for i in picture_ids if i in room.pictures]
            for picture in found:
                picture.verdict = verdict
                picture.highlighted &= verdict is Verdict.SHOWN
            self._store.change(*found)

    def highlight(self, session_id: str, picture_id: str, highlighted: bool) -> None:
        """Show a picture large, which also approves it, or stop doing so."""
        with self._changing(session_id) as room:
            picture = room.pictures[picture_id]
            picture.highlighted = highlighted
            if highlighted:
                picture.verdict = Verdict.SHOWN
            self._store.change(picture)

    def remove_guest(self, session_id: str, guest_id: str) -> None:
        """Remove a guest: waiting pictures are cancelled, shown ones taken down."""
        with self._changing(session_id) as room:
            guest = room.guests[guest_id]
            guest.removed = True
            waiting = [p for p in room.of_guest(guest_id) if p.state.is_active]
            for picture in waiting:
                self._end(picture, PictureState.CANCELLED)
            self._store.change(guest, *waiting)

    def reset_guest(self, session_id: str, guest_id: str) -> None:
        """Readmit a guest and reset the allowance."""
        with self._changing(session_id) as room:
            guest = room.guests[guest_id]
            guest.removed, guest.counted_from = False, now_ms()
            self._store.change(guest)

    def delete(self, session_id: str) -> None:
        """Delete a session with its guests and pictures permanently."""
        with self._adding, self.lock:
            room = self._rooms.pop(session_id)
            for picture in room.active():
                self._end(picture, PictureState.CANCELLED)
            self._store.delete(session_id)
            self.feed.everybody(session_id)
        self._gallery.delete_everything(room.session.gallery_owner)

    # Guests' actions.

    def join(self, room: Room, guest_id: str, nickname: str, consents: bool) -> Guest:
        """Admit a guest with a new id, which can be used once.

        Raises:
            Refused: invalid nickname, session full or over, or the id was already used.
        """
        name = nickname_of(nickname)
        with self._adding:
            with self.lock:
                self._check_open(room)
                if len(room.guests) >= MAX_GUESTS:
                    raise Refused("full", "This session is full.")
            guest = Guest(guest_id, room.session.id, name, consents, False, now_ms(), 0)
            try:
                self._store.add(guest)
            except IntegrityError:
                raise Refused("used", "This invitation was used before. Try again.") from None
            with self.lock:
                room.guests[guest.id] = guest
        return guest

    def ask(
        self, room: Room, guest: Guest, prompt: str, size: tuple[int, int] | None, count: int = 1
    ) -> list[GuestPicture]:
        """Queue a guest's pictures.

        Raises:
            Refused: says what to do, or when it will be possible.
        """
        with self._adding:
            with self.lock:
                self._check_open(room)
                check_may_ask(room, guest, count)
            recipe = recipe_of(room.session.rules, prompt, size, self._abilities())
            asked = [self._asked(room, guest, recipe) for _ in range(count)]
            self._store.add(*asked)
            with self.lock:
                room.pictures |= {picture.id: picture for picture in asked}
                self.work.notify_all()
                self._moved(room, guest.id)
        return asked

    def _asked(self, room: Room, guest: Guest, recipe: Recipe) -> GuestPicture:
        first = room.session.rules.approve_first
        return GuestPicture(
            id=uuid.uuid4().hex,
            session_id=room.session.id,
            guest_id=guest.id,
            recipe=recipe.with_seed(random.randrange(RANDOM_SEED_BELOW)),
            state=PictureState.WAITING,
            verdict=Verdict.PENDING if first else Verdict.SHOWN,
            highlighted=False,
            error="",
            created_at=now_ms(),
        )

    def cancel(self, room: Room, guest: Guest, picture_id: str) -> None:
        """Cancel an unfinished picture."""
        with self.lock:
            picture = room.pictures.get(picture_id)
            if picture is not None and picture.guest_id == guest.id and picture.state.is_active:
                self.finish(picture, PictureState.CANCELLED)

    # Called by the runner.

    def begin(self, picture: GuestPicture, at: float) -> None:
        """Mark a picture as running."""
        with self.lock:
            picture.state = PictureState.RUNNING
            room = self._rooms[picture.session_id]
            room.guests[picture.guest_id].served_at = at
            self._moved(room, picture.guest_id)

    def put_back(self, picture: GuestPicture) -> None:
        """Put a running picture back into the queue; it restarts from the first step."""
        with self.lock:
            if picture.state is PictureState.RUNNING:
                picture.state = PictureState.WAITING
                self._moved(self._rooms[picture.session_id], picture.guest_id)

    def progressed(self, picture: GuestPicture) -> None:
        self.feed.progress(picture.session_id, picture.guest_id, picture.id)

    def finish(self, picture: GuestPicture, state: PictureState, error: str = "") -> None:
        """Record how a picture ended, unless it has already ended."""
        with self.lock:
            if not picture.state.is_active or picture.session_id not in self._rooms:
                return
            self._end(picture, state, error)
            self._moved(self._rooms[picture.session_id], picture.guest_id)
            self.work.notify_all()
        # Not under the lock, which the pages' streams need; what a crash leaves out is found again.
        self._store.change(picture)

    def _end(self, picture: GuestPicture, state: PictureState, error: str = "") -> None:
        picture.state, picture.error, picture.finished_at = state, error, now_ms()
        picture.forming.preview = None

    def _moved(self, room: Room, guest_id: str) -> None:
        """The line has: the next page that asks gets its places anew."""
        room.version += 1
        self.feed.guest(room.session.id, guest_id)

    @contextmanager
    def _changing(self, session_id: str) -> Iterator[Room]:
        """The room, with the lock held; notifies all pages afterwards."""
        with self.lock:
            yield self._rooms[session_id]
            self._rooms[session_id].version += 1
            self.feed.everybody(session_id)

    def _check_open(self, room: Room) -> None:
        if room.session.has_ended or room.session.id not in self._rooms:
            raise Refused("ended", "This session is over. Thank you for coming.")
