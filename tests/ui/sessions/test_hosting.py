"""What the host decides, and what the wall shows of it."""

from __future__ import annotations

from tests.support.fake_service import FakeService
from tests.ui.sessions.conftest import (
    Venue,
    all_made,
    ask,
    join,
    refusal,
    states,
    try_to_ask,
    wait_for,
    wall_ids,
)
from ui.sessions import views
from ui.sessions.room import PictureState, Room, Verdict
from ui.sessions.rules import Rules
from ui.storage.picture import Picture


class TestHosting:
    def test_a_pause_keeps_what_waits_and_resuming_makes_it(
        self, venue: Venue, service: FakeService
    ) -> None:
        service.hold_at_step = 1
        room = venue.start(Rules(steps=2, pictures_per_guest=20))
        phone = join(venue, room)
        for _ in range(8):
            ask(phone, room)
        venue.sessions.change(room.session.id, paused=True)
        service.hold_at_step = None
        assert refusal(try_to_ask(phone, room)) == (400, "paused")
        wait_for(lambda: PictureState.RUNNING not in states(room))
        assert PictureState.WAITING in states(room)
        venue.sessions.change(room.session.id, paused=False)
        wait_for(lambda: all_made(room))

    def test_approve_first_shows_nothing_of_a_picture_before(
        self, venue: Venue, service: FakeService
    ) -> None:
        service.hang_at_step = 2
        room = venue.start(Rules(steps=4, approve_first=True))
        picture_id = ask(join(venue, room), room, "something rude")
        wait_for(lambda: room.pictures[picture_id].forming.preview)
        told = views.wall(room)["forming"]
        assert [set(item) for item in told] == [{"id", "step", "steps", "eta"}]
        service.hang_at_step = None
        venue.sessions.cancel(room, next(iter(room.guests.values())), picture_id)

    def test_approving_hiding_and_showing_again(self, venue: Venue) -> None:
        room = venue.start(Rules(steps=1, approve_first=True))
        picture_id = ask(join(venue, room), room)
        wait_for(lambda: all_made(room))
        assert wall_ids(room) == []
        for verdict, shown in (
            (Verdict.SHOWN, [picture_id]),
            (Verdict.HIDDEN, []),
            (Verdict.SHOWN, [picture_id]),
        ):
            venue.sessions.judge(room.session.id, [picture_id], verdict)
            assert wall_ids(room) == shown

    def test_a_highlighted_picture_is_large_and_hiding_it_ends_that(self, venue: Venue) -> None:
        room = venue.start()
        picture_id = ask(join(venue, room), room)
        wait_for(lambda: all_made(room))
        venue.sessions.highlight(room.session.id, picture_id, True)
        assert views.wall(room)["pictures"][0]["large"]
        venue.sessions.judge(room.session.id, [picture_id], Verdict.HIDDEN)
        assert not room.pictures[picture_id].highlighted

    def test_a_removed_guest_s_pictures_are_taken_down_and_cancelled(
        self, venue: Venue, service: FakeService
    ) -> None:
        room = venue.start()
        phone = join(venue, room)
        ask(phone, room)
        wait_for(lambda: all_made(room))
        service.hang_at_step = 1
        running = ask(phone, room)
        venue.sessions.remove_guest(room.session.id, next(iter(room.guests)))
        assert wall_ids(room) == []
        assert room.pictures[running].state is PictureState.CANCELLED
        assert refusal(try_to_ask(phone, room)) == (403, "removed")
        assert service.wait_cancelled()

    def test_deleting_a_session_leaves_nothing_of_it(self, venue: Venue) -> None:
        room = venue.start()
        ask(join(venue, room), room)
        wait_for(lambda: all_made(room))
        venue.sessions.delete(room.session.id)
        assert venue.gallery.count(room.session.gallery_owner) == 0
        assert venue.reopen().sessions.all() == []


def test_a_picture_on_the_wall_has_a_short_link_and_a_code_until_it_is_hidden(
    venue: Venue,
) -> None:
    room = venue.start()
    picture_id = ask(join(venue, room), room, "a cat")
    wait_for(lambda: all_made(room))
    (told,) = views.wall(room)["pictures"]
    assert told["link"] == f"192.168.1.20:8501/s/p/{room.session.code}/{picture_id[:8]}"
    passer_by = venue.phone()
    path = "/" + told["link"].partition("/")[2]
    file = passer_by.get(path, follow_redirects=True)
    assert file.content == venue.gallery.read(room_picture(venue, room, picture_id))
    qr = f"/s/qr?code={room.session.code}&picture={picture_id}"
    assert passer_by.get(qr).text != passer_by.get(qr.partition("&")[0]).text
    assert passer_by.get(path[:-1]).status_code == 404
    assert passer_by.get(f"/s/p/AAAA2222/{picture_id[:8]}").status_code == 404
    venue.sessions.judge(room.session.id, [picture_id], Verdict.HIDDEN)
    assert passer_by.get(path, follow_redirects=False).status_code == 404
    assert passer_by.get(qr).status_code == 404


def room_picture(venue: Venue, room: Room, picture_id: str) -> Picture:
    found = venue.gallery.get(room.session.gallery_owner, picture_id)
    assert found is not None
    return found
