"""Services and studios that go away, and what comes of the pictures."""

from __future__ import annotations

import grpc

from tests.support.fake_service import Failure as ServiceFailure
from tests.support.fake_service import FakeService, retry_info
from tests.ui.sessions.conftest import Venue, all_made, ask, join, states, wait_for
from ui.sessions.room import PictureState
from ui.sessions.store import Store


class TestTrouble:
    def test_a_backend_that_goes_away_loses_no_picture_and_keeps_the_seed(
        self, venue: Venue, service: FakeService
    ) -> None:
        service.failure = ServiceFailure(grpc.StatusCode.UNAVAILABLE, "gone", (retry_info(0.05),))
        service.failures_left, service.fail_at_step = 4, 1
        room = venue.start()
        ask(join(venue, room), room)
        wait_for(lambda: all_made(room))
        assert len({request.seed for request in service.requests}) == 1
        assert len(service.requests) >= 2

    def test_a_restarted_studio_goes_on_where_it_stopped(
        self, venue: Venue, service: FakeService
    ) -> None:
        service.hang_at_step = 1
        room = venue.start()
        phone = join(venue, room)
        picture_id = ask(phone, room)
        wait_for(lambda: service.requests)
        seed = room.pictures[picture_id].recipe.seed
        cookies = phone.cookies
        service.hang_at_step = None
        again = venue.reopen()
        reopened = again.sessions.all()[0]
        wait_for(lambda: all_made(reopened))
        assert reopened.pictures[picture_id].recipe.seed == seed
        phone = again.phone()
        phone.cookies = cookies
        assert (
            phone.get(f"/s/picture/{picture_id}/full?code={room.session.code}").status_code == 200
        )

    def test_a_picture_kept_before_the_row_was_written_is_not_made_twice(
        self, venue: Venue, service: FakeService
    ) -> None:
        room = venue.start()
        picture_id = ask(join(venue, room), room)
        wait_for(lambda: all_made(room))
        room.pictures[picture_id].state = PictureState.WAITING
        Store(venue.engine, "this studio").change(room.pictures[picture_id])
        again = venue.reopen().sessions.all()[0]
        wait_for(lambda: all_made(again))
        assert len(service.requests) == 1

    def test_a_full_disk_fails_the_picture_and_tells_the_host(self, venue: Venue) -> None:
        venue.gallery._quota.num_bytes = 10
        room = venue.start()
        picture_id = ask(join(venue, room), room)
        wait_for(lambda: states(room) == [PictureState.FAILED])
        assert "no room" in room.pictures[picture_id].error
        assert "share" in venue.runner.trouble
