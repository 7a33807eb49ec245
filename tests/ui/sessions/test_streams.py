"""What pages are told while they are open."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.fake_service import FakeService
from tests.ui.sessions.conftest import Venue, event
from ui.sessions.events import Stream
from ui.sessions.room import Guest, Room, now_ms
from ui.sessions.rules import Rules


class TestStreams:
    async def read(self, venue: Venue, room: Room, guest: Guest | None, count: int) -> list[Any]:
        stream = Stream(venue.sessions, venue.runner, room, guest, lambda: "an invitation")
        found: list[Any] = []
        messages = stream.messages(guest.id if guest else None)
        async for message in messages:
            if message.startswith(b"event"):
                found.append(event(message.decode()))
            if len(found) == count:
                break
        await messages.aclose()  # type: ignore[attr-defined]
        return found

    async def test_the_first_event_is_the_whole_state(self, venue: Venue) -> None:
        room = venue.start()
        guest = venue.sessions.join(room, "g1", "Ada", True)
        ((name, wall),) = await self.read(venue, room, None, 1)
        assert (name, wall["name"], wall["link"]) == ("state", "Open day", "192.168.1.20:8501/join")
        ((_, own),) = await self.read(venue, room, guest, 1)
        assert (own["nickname"], own["left"], own["line"]["before"]) == ("Ada", 3, 0)
        assert venue.sessions.feed.total() == 0

    async def test_the_wall_is_told_of_a_picture_from_its_steps_to_its_end(
        self, venue: Venue, service: FakeService
    ) -> None:
        service.step_s = 0.3
        room = venue.start(Rules(steps=50))
        guest = venue.sessions.join(room, "g1", "Ada", True)

        async def watch() -> list[Any]:
            stream = Stream(venue.sessions, venue.runner, room, None, lambda: "")
            found = []
            async for message in stream.messages(None):
                if message.startswith(b"event"):
                    found.append(event(message.decode()))
                    if "preview" in found[-1][1]:
                        service.step_s = 0.0
                if found and found[-1][0] == "state" and found[-1][1]["pictures"]:
                    break
            return found

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0.05)
        venue.sessions.ask(room, guest, "a cat", None)
        found = await asyncio.wait_for(watching, 60)
        steps = [data for name, data in found if name == "progress"]
        assert steps
        assert any("preview" in data for data in steps)
        assert found[-1][1]["pictures"][0]["prompt"] == "a cat"

    async def test_an_end_by_the_clock_is_told(self, venue: Venue) -> None:
        room = venue.start()
        stream = Stream(venue.sessions, venue.runner, room, None, lambda: "")
        messages = stream.messages(None)
        first = [await anext(messages) for _ in range(2)]
        assert not event(first[1].decode())[1]["ended"]
        room.session.ends_at = now_ms()
        assert event((await asyncio.wait_for(anext(messages), 60)).decode())[1]["ended"]
        await messages.aclose()  # type: ignore[attr-defined]

    async def test_they_end_with_the_server(self, venue: Venue) -> None:
        room = venue.start()
        messages = Stream(venue.sessions, venue.runner, room, None, lambda: "").messages(None)
        await anext(messages)
        await anext(messages)
        venue.sessions.feed.close()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(messages), 60)

    async def test_who_has_not_joined_gets_an_invitation_and_no_pictures(
        self, venue: Venue
    ) -> None:
        room = venue.start()
        stream = Stream(venue.sessions, venue.runner, room, None, lambda: "an invitation")
        messages = [m async for m in _first(stream.messages(""), 2)]
        _, state = event(messages[1].decode())
        assert state["invitation"] == "an invitation"
        assert "pictures" not in state


async def _first(messages: Any, count: int) -> Any:
    async for message in messages:
        yield message
        count -= 1
        if not count:
            break
