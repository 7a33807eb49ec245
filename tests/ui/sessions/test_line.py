"""Whose picture is next."""

from __future__ import annotations

from tests.ui.sessions.conftest import room_of
from ui.sessions.room import line


class TestFairness:
    def test_a_greedy_guest_s_second_comes_after_everybody_s_first(self) -> None:
        room = room_of({"greedy": 5, "ada": 1, "ben": 1})
        assert [p.guest_id for p in line([room])][:4] == ["greedy", "ada", "ben", "greedy"]

    def test_who_was_served_longest_ago_is_next(self) -> None:
        room = room_of({"ada": 1, "ben": 1})
        room.guests["ada"].served_at = 5.0
        assert [p.guest_id for p in line([room])] == ["ben", "ada"]

    def test_before_counts_who_comes_first(self) -> None:
        room = room_of({"greedy": 5, "ada": 1})
        assert room.before("newcomer") == 2
        assert room.before("ada") == 3
        assert room.before("greedy") == 6

    def test_two_sessions_take_turns(self) -> None:
        first, second = room_of({"ada": 2}), room_of({"ben": 2})
        assert [p.guest_id for p in line([first, second])] == ["ada", "ben", "ada", "ben"]
