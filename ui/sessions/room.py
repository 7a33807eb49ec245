"""The state of a session: guests, pictures, and the queue."""

from __future__ import annotations

import enum
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from ui.recipe import Recipe
from ui.sessions.rules import Rules

SHORT_ID = 8  # characters of a picture's id in its short link


class PictureState(enum.StrEnum):
    """The state of a guest's picture; the value is stored in the database."""

    WAITING = "waiting"
    RUNNING = "running"  # stored as waiting, which it is after a restart
    MADE = "made"
    WITHHELD = "withheld"  # by the safety checker
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_active(self) -> bool:
        return self in (PictureState.WAITING, PictureState.RUNNING)


class Verdict(enum.StrEnum):
    """The host's decision on a picture."""

    PENDING = "pending"
    SHOWN = "shown"
    HIDDEN = "hidden"


@dataclass
class Guest:
    """A guest. Times are milliseconds since 1970."""

    id: str
    session_id: str
    nickname: str
    consents: bool
    removed: bool
    joined_at: int
    counted_from: int
    served_at: float = 0.0  # monotonic seconds when a picture of this guest was last started


@dataclass
class Forming:
    """Progress of a running picture."""

    step: int = 0
    num_steps: int = 0
    eta_ms: int = 0
    preview: bytes | None = None  # a small JPEG


@dataclass
class GuestPicture:
    """A picture requested by a guest. Times are milliseconds since 1970."""

    id: str
    session_id: str
    guest_id: str
    recipe: Recipe
    state: PictureState
    verdict: Verdict
    highlighted: bool
    error: str
    created_at: int
    finished_at: int | None = None
    forming: Forming = field(default_factory=Forming)


@dataclass
class Session:
    """A session. Times are milliseconds since 1970."""

    id: str
    owner: str
    code: str
    name: str
    theme: str
    rules: Rules
    paused: bool
    created_at: int
    ends_at: int

    @property
    def has_ended(self) -> bool:
        return now_ms() >= self.ends_at

    @property
    def gallery_owner(self) -> str:
        """Owner of its pictures in the gallery: the session itself."""
        return f"e-{self.id}"

    @property
    def join_link(self) -> str:
        return f"{self.rules.address}/join?code={self.code}"

    def picture_link(self, picture_id: str) -> str:
        """The short link of one picture, for those with the code."""
        return f"{self.rules.address}/s/p/{self.code}/{picture_id[:SHORT_ID]}"


@dataclass
class Room:
    """A session with its guests and pictures. Access requires the lock of `Sessions`."""

    session: Session
    guests: dict[str, Guest] = field(default_factory=dict)
    pictures: dict[str, GuestPicture] = field(default_factory=dict)  # oldest first
    version: int = field(default=0, compare=False)  # of the line; `places` is made once for each
    _places: tuple[int, dict[str, int], Counter[str]] | None = field(default=None, compare=False)

    def of_guest(self, guest_id: str) -> list[GuestPicture]:
        return [p for p in self.pictures.values() if p.guest_id == guest_id]

    def active(self) -> list[GuestPicture]:
        return [p for p in self.pictures.values() if p.state.is_active]

    def is_public(self, picture: GuestPicture) -> bool:
        """Whether others may see the picture, now or once it is finished."""
        guest = self.guests[picture.guest_id]
        if not guest.consents or guest.removed or picture.verdict is Verdict.HIDDEN:
            return False
        return picture.state.is_active or picture.state is PictureState.MADE

    def is_on_wall(self, picture: GuestPicture) -> bool:
        """Whether the picture is finished and shown on the wall."""
        is_shown = picture.state is PictureState.MADE and picture.verdict is Verdict.SHOWN
        return is_shown and self.is_public(picture)

    def on_wall(self) -> list[GuestPicture]:
        """The pictures shown on the wall, the last finished first."""
        shown = [p for p in self.pictures.values() if self.is_on_wall(p)]
        return sorted(shown, key=lambda p: p.finished_at or 0, reverse=True)

    def line(self) -> list[GuestPicture]:
        """The queue: round robin over guests, the least recently served first."""
        return line([self])

    def places(self) -> tuple[dict[str, int], Counter[str]]:
        """How many pictures come before each waiting one, and how many each guest has under way."""
        if self._places is None or self._places[0] != self.version:
            active = self.active()
            running = sum(p.state is PictureState.RUNNING for p in active)
            places = {p.id: running + number for number, p in enumerate(self.line())}
            self._places = self.version, places, Counter(p.guest_id for p in active)
        return self._places[1:]

    def before(self, guest_id: str) -> int:
        """Number of pictures before the guest's next request."""
        _, counts = self.places()
        own = counts[guest_id]
        others = sum(min(n, own + 1) for who, n in counts.items() if who != guest_id)
        return own + others

    def counted(self, guest: Guest) -> list[GuestPicture]:
        """The guest's pictures that count towards the allowance, oldest first."""
        rules = self.session.rules
        since = guest.counted_from
        if rules.per_minutes:
            since = max(since, now_ms() - rules.per_minutes * 60_000)
        lost = (PictureState.FAILED, PictureState.CANCELLED)
        return [p for p in self.of_guest(guest.id) if p.created_at > since and p.state not in lost]

    def free_at(self, guest: Guest) -> int | None:
        """When the guest may request again, or None: now."""
        counted, rules = self.counted(guest), self.session.rules
        over = len(counted) - rules.pictures_per_guest
        if over < 0:
            return None
        if not rules.per_minutes or not rules.pictures_per_guest:
            return self.session.ends_at
        return min(counted[over].created_at + rules.per_minutes * 60_000, self.session.ends_at)


def line(rooms: list[Room]) -> list[GuestPicture]:
    """The waiting pictures of these rooms in the order in which they will be generated."""
    return [picture for _, picture in sorted(_ranked(rooms), key=lambda pair: pair[0])]


def _ranked(rooms: list[Room]) -> Iterator[tuple[tuple[int, float, int], GuestPicture]]:
    for room in rooms:
        turns: Counter[str] = Counter()
        for picture in room.active():
            rank = turns[picture.guest_id]
            turns[picture.guest_id] += 1
            if picture.state is PictureState.WAITING:
                served_at = room.guests[picture.guest_id].served_at
                yield (rank, served_at, picture.created_at), picture


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
