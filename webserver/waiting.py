"""Which connection is closed for a new one, when there are as many as there may be."""

from __future__ import annotations

import enum
import socket
import time
from collections import defaultdict
from collections.abc import Hashable, Iterator
from itertools import takewhile
from typing import Generic, Protocol, TypeVar

PEER_SHARE = 4  # a peer may have 1/PEER_SHARE of all connections
PATIENCE_S = 1.0  # for the first byte, and for the headers, while others come


class Wait(enum.IntEnum):
    """What a connection waits for. Those of the lowest value are closed first."""

    FIRST_BYTE = 0
    NEXT_REQUEST = 1
    HEADERS = 2
    BODY = 3
    ANSWER = 4  # ours: it is never closed for another


SILENT = [wait for wait in Wait if wait is not Wait.ANSWER]


class Client(Hashable, Protocol):
    """One connection."""

    peer: str

    def has_unread(self) -> bool:
        """Whether bytes have come that we have not read yet."""

    def drop(self) -> None:
        """Close it immediately, and `forget` it."""


C = TypeVar("C", bound=Client)


class Waiting(Generic[C]):
    """Connections by what they wait for, those that wait longest first."""

    def __init__(self) -> None:
        self._since: dict[Wait, dict[C, float]] = {wait: {} for wait in Wait}
        self._wait: dict[C, Wait] = {}

    def __len__(self) -> int:
        return len(self._wait)

    def __iter__(self) -> Iterator[C]:
        return iter([*self._wait])

    @property
    def num_silent(self) -> int:
        """How many wait for their client."""
        return len(self._wait) - len(self._since[Wait.ANSWER])

    def note(self, one: C, wait: Wait) -> None:
        """It waits for this from now on."""
        self.discard(one)
        self._wait[one] = wait
        self._since[wait][one] = time.monotonic()

    def discard(self, one: C) -> None:
        """It is closed."""
        wait = self._wait.pop(one, None)
        if wait is not None:
            del self._since[wait][one]

    def in_order(self) -> Iterator[C]:
        """Those to be closed first, first; none that is being answered.

        Clients that send nothing, or parts of headers, for `PATIENCE_S` are first. So slow ones
        don't take all places and leave too few for those that have just come.
        """
        overdue = time.monotonic() - PATIENCE_S
        for wait in (Wait.FIRST_BYTE, Wait.HEADERS):
            long = takewhile(lambda known: known[1] <= overdue, self._since[wait].items())
            yield from (one for one, _ in long)
        for wait in SILENT:
            yield from self._since[wait]


class Connections(Generic[C]):
    """All that are open.

    Args:
        most: at most so many.
        most_of_peer: at most so many of one host.
        most_silent_of_peer: the same, of those that wait for their client.
    """

    def __init__(self, most: int, most_of_peer: int, most_silent_of_peer: int) -> None:
        self._most = most
        self._most_of_peer = most_of_peer
        self._most_silent_of_peer = most_silent_of_peer
        self._all = Waiting[C]()
        self._by_peer: defaultdict[str, Waiting[C]] = defaultdict(Waiting)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[C]:
        return iter(self._all)

    def has_room_for(self, peer: str) -> bool:
        """Whether there is room for one more of this peer, after closing another if need be."""
        of_peer = self._by_peer.get(peer)
        if of_peer is not None and (
            len(of_peer) >= self._most_of_peer or of_peer.num_silent >= self._most_silent_of_peer
        ):
            return _close_one(of_peer)
        return len(self._all) < self._most or self.close_one()

    def close_one(self) -> bool:
        """Close whichever should go first. Returns False if none may."""
        return _close_one(self._all)

    def note(self, one: C, wait: Wait) -> None:
        """A connection, new or known, waits for this from now on."""
        self._all.note(one, wait)
        self._by_peer[one.peer].note(one, wait)

    def forget(self, one: C) -> None:
        """It is closed."""
        self._all.discard(one)
        of_peer = self._by_peer[one.peer]
        of_peer.discard(one)
        if not of_peer:
            del self._by_peer[one.peer]


def _close_one(among: Waiting[C]) -> bool:
    """None whose request has come but was not read yet: its client would be reset."""
    for one in among.in_order():
        if not one.has_unread():
            one.drop()
            return True
    return False


def has_unread(sock: socket.socket) -> bool:
    """Whether a non-blocking socket has bytes to read."""
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except OSError:  # also BlockingIOError: none yet
        return False
