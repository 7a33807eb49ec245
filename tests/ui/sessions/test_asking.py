"""What guests ask for: how it is made, and what is refused."""

from __future__ import annotations

import threading
from typing import Any

import grpc
import pytest

from tests.support.fake_service import Failure as ServiceFailure
from tests.support.fake_service import FakeService, bad_request
from tests.ui.sessions.conftest import (
    Venue,
    all_made,
    ask,
    join,
    refusal,
    states,
    try_to_ask,
    wait_for,
)
from ui.sessions import views
from ui.sessions.room import PictureState, now_ms
from ui.sessions.rules import Rules
from ui.sessions.store import Store


def test_a_slow_database_holds_up_nobody_but_those_who_ask(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = venue.start()
    guest = venue.sessions.join(room, "g1", "Ada", consents=True)
    writing, written = threading.Event(), threading.Event()
    add = Store.add

    def slow(store: Store, *things: Any) -> None:
        writing.set()
        assert written.wait(60)
        add(store, *things)

    monkeypatch.setattr(Store, "add", slow)
    asking = threading.Thread(target=venue.sessions.ask, args=(room, guest, "a cat", None))
    asking.start()
    assert writing.wait(60)
    is_free = venue.sessions.lock.acquire(timeout=20)
    if is_free:
        venue.sessions.lock.release()
    written.set()
    asking.join(60)
    assert is_free
    assert len(room.pictures) == 1


class TestMaking:
    def test_a_prompt_becomes_a_picture_with_all_that_the_host_has_pinned(
        self, venue: Venue, service: FakeService
    ) -> None:
        pinned = Rules(steps=3, guidance=2.5, scheduler="ddim", model="fake", sizes=((64, 128),))
        room = venue.start(pinned)
        phone = join(venue, room)
        picture_id = ask(phone, room, "  a red\n cat ", size="64x128")
        wait_for(lambda: all_made(room))
        request, metadata = service.requests[0], service.metadata[0]
        assert (request.prompt, request.num_inference_steps) == ("a red cat", 3)
        assert (request.width, request.height) == (64, 128)
        assert (request.guidance_scale, request.scheduler, request.model) == (2.5, "ddim", "fake")
        assert metadata["x-text2image-client"] == f"guest-{next(iter(room.guests))}"
        kept = venue.gallery.get(room.session.gallery_owner, picture_id)
        assert kept is not None
        assert (kept.prompt, kept.width, kept.height) == ("a red cat", 64, 128)
        original = phone.get(f"/s/picture/{picture_id}/download?code={room.session.code}")
        assert original.content == venue.gallery.read(kept)
        assert original.headers["content-disposition"].endswith('.png"')

    def test_it_is_nobody_s_in_the_studio_s_gallery(self, venue: Venue) -> None:
        room = venue.start()
        ask(join(venue, room), room)
        wait_for(lambda: all_made(room))
        assert venue.gallery.count("b-host") == 0

    def test_several_in_one_request_are_pictures_of_their_own(
        self, venue: Venue, service: FakeService
    ) -> None:
        room = venue.start(Rules(steps=1, pictures_per_request=2))
        phone = join(venue, room)
        ask(phone, room, count=2)
        wait_for(lambda: all_made(room))
        assert len({request.seed for request in service.requests}) == 2
        assert refusal(try_to_ask(phone, room, count=3)) == (400, "count")

    @pytest.mark.parametrize(
        ("more", "code"),
        [
            ({"prompt": ""}, "prompt"),
            ({"prompt": "x" * 401}, "prompt"),
            ({"size": "64x64"}, "size"),
            ({"count": 2}, "count"),
            ({"count": True}, "count"),
            ({"count": -1}, "count"),
        ],
    )
    def test_what_is_not_offered_is_refused(
        self, venue: Venue, more: dict[str, Any], code: str
    ) -> None:
        room = venue.start()
        answer = try_to_ask(join(venue, room), room, **{"prompt": "a cat", **more})
        assert refusal(answer) == (400, code)
        assert room.pictures == {}

    def test_a_refused_prompt_says_so_to_its_guest_and_not_to_the_wall(
        self, venue: Venue, service: FakeService
    ) -> None:
        details = (bad_request(prompt="Not this one."),)
        service.failure = ServiceFailure(grpc.StatusCode.INVALID_ARGUMENT, "bad", details)
        room = venue.start()
        picture_id = ask(join(venue, room), room)
        wait_for(lambda: states(room) == [PictureState.FAILED])
        assert "Not this one." in room.pictures[picture_id].error
        assert views.wall(room)["pictures"] == views.wall(room)["forming"] == []


class TestLimits:
    def test_a_used_up_allowance_says_when_it_ends(self, venue: Venue) -> None:
        room = venue.start(Rules(steps=1, pictures_per_guest=1, per_minutes=10))
        phone = join(venue, room)
        picture_id = ask(phone, room)
        answer = try_to_ask(phone, room)
        assert refusal(answer) == (429, "limit")
        expected = room.pictures[picture_id].created_at + 600_000
        assert answer.json()["until"] == expected
        wait_for(lambda: all_made(room))
        room.pictures[picture_id].created_at -= 600_001
        ask(phone, room)

    def test_for_the_whole_session_it_ends_with_it(self, venue: Venue) -> None:
        room = venue.start(Rules(steps=1, pictures_per_guest=1, per_minutes=0))
        phone = join(venue, room)
        ask(phone, room)
        assert try_to_ask(phone, room).json()["until"] == room.session.ends_at

    def test_a_failed_or_cancelled_picture_uses_up_nothing(self, venue: Venue) -> None:
        room = venue.start(Rules(steps=1, pictures_per_guest=1))
        phone = join(venue, room)
        venue.sessions.change(room.session.id, paused=True)
        venue.sessions.change(room.session.id, paused=False)
        picture_id = ask(phone, room)
        phone.post("/s/cancel", json={"code": room.session.code, "id": picture_id})
        wait_for(lambda: not room.active())
        if room.pictures[picture_id].state is PictureState.CANCELLED:
            ask(phone, room)

    def test_a_full_queue_says_so(self, venue: Venue, service: FakeService) -> None:
        service.hang_at_step = 1
        room = venue.start(Rules(steps=1, max_waiting=1))
        phone = join(venue, room)
        ask(phone, room)
        assert refusal(try_to_ask(phone, room)) == (429, "queue")
        assert views.line(room, "", 2.0)["full"]

    def test_the_host_changes_them_at_any_time(self, venue: Venue) -> None:
        room = venue.start(Rules(steps=1, pictures_per_guest=1))
        phone = join(venue, room)
        ask(phone, room)
        venue.sessions.change(room.session.id, rules=Rules(steps=1, pictures_per_guest=2))
        ask(phone, room)

    def test_resetting_a_guest_begins_the_allowance_anew(self, venue: Venue) -> None:
        room = venue.start(Rules(steps=1, pictures_per_guest=1))
        phone = join(venue, room)
        ask(phone, room)
        wait_for(lambda: all_made(room))
        venue.sessions.reset_guest(room.session.id, next(iter(room.guests)))
        ask(phone, room)

    def test_an_ended_session_takes_no_more_and_finishes_what_waits(self, venue: Venue) -> None:
        room = venue.start()
        phone = join(venue, room)
        ask(phone, room)
        venue.sessions.change(room.session.id, ends_at=now_ms())
        assert refusal(try_to_ask(phone, room)) == (410, "ended")
        wait_for(lambda: all_made(room))
