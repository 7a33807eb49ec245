"""Who is closed for whom."""

from __future__ import annotations

import pytest

from webserver import waiting
from webserver.waiting import Connections, Wait

SOON_S, LATER_S = 0.5, 2.0


class Clock:
    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


class Client:
    """`peer` is its host; `closed` is where its name is noted."""

    def __init__(self, name: str, connections: Connections[Client], closed: list[str]) -> None:
        self.name, self.peer = name, name[0]
        self.unread = False
        self._connections, self._closed = connections, closed

    def has_unread(self) -> bool:
        return self.unread

    def drop(self) -> None:
        self._closed.append(self.name)
        self._connections.forget(self)


class Crowd:
    """Clients named by host and number, such as "a1"."""

    def __init__(self, connections: Connections[Client]) -> None:
        self.connections = connections
        self.closed: list[str] = []
        self._known: dict[str, Client] = {}

    def add(self, name: str, wait: Wait = Wait.FIRST_BYTE, *, unread: bool = False) -> bool:
        """Returns whether there was room for it."""
        if not self.connections.has_room_for(name[0]):
            return False
        self._known[name] = Client(name, self.connections, self.closed)
        self._known[name].unread = unread
        self.note(name, wait)
        return True

    def note(self, name: str, wait: Wait) -> None:
        self.connections.note(self._known[name], wait)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(waiting, "time", clock)
    return clock


def crowd(most: int = 3, of_peer: int = 99, silent: int = 99) -> Crowd:
    return Crowd(Connections[Client](most, of_peer, silent))


@pytest.mark.parametrize(
    ("after_s", "order"),
    [
        (SOON_S, ["a0", "a1", "a2", "a3"]),
        (LATER_S, ["a0", "a2", "a1", "a3"]),  # slow headers don't outlive those that are idle
    ],
)
def test_the_order(clock: Clock, after_s: float, order: list[str]) -> None:
    one = crowd(5)
    for wait in reversed(Wait):
        one.add(f"a{wait.value}", wait)
    clock.now_s = after_s
    while one.connections.close_one():
        pass
    assert one.closed == order
    assert [client.name for client in one.connections] == ["a4"]


def test_of_equals_the_one_that_waits_longest(clock: Clock) -> None:
    one = crowd()
    for name in ("a1", "a2", "a3"):
        one.add(name)
    one.note("a1", Wait.FIRST_BYTE)
    assert one.add("a4")
    assert one.closed == ["a2"]


def test_slow_ones_go_before_those_that_have_just_come(clock: Clock) -> None:
    one = crowd()
    for name in ("a1", "a2"):
        one.add(name, Wait.HEADERS)
    clock.now_s = LATER_S
    for name in ("a3", "a4", "a5"):
        assert one.add(name)
    assert one.closed == ["a1", "a2"]


def test_none_whose_request_was_not_read_yet(clock: Clock) -> None:
    one = crowd()
    for name, unread in (("a1", True), ("a2", False), ("a3", True)):
        one.add(name, unread=unread)
    clock.now_s = LATER_S
    assert one.add("a4", unread=True)
    assert not one.add("a5")
    assert one.closed == ["a2"]


def test_those_being_answered_are_never_closed() -> None:
    one = crowd()
    for name in ("a1", "a2", "a3"):
        one.add(name, Wait.ANSWER)
    assert not one.add("b1")
    one.note("a2", Wait.NEXT_REQUEST)
    assert one.add("b1")
    assert one.closed == ["a2"]


def test_a_host_has_its_share() -> None:
    one = crowd(9, of_peer=2)
    for name in ("a1", "b1", "a2", "a3"):
        assert one.add(name)
    assert one.closed == ["a1"]
    for name in ("a2", "a3"):
        one.note(name, Wait.ANSWER)
    assert not one.add("a4")
    assert one.add("b2")


def test_a_share_of_silent_ones_leaves_out_what_is_used() -> None:
    one = crowd(9, silent=1)
    for name in ("a1", "a2", "a3"):
        assert one.add(name)
        one.note(name, Wait.ANSWER)
    assert one.add("a4")
    assert one.add("a5")
    assert one.closed == ["a4"]
