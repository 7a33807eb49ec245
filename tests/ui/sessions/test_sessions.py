"""Sessions from the first guest to the last picture, against a scripted image server."""

from __future__ import annotations

import asyncio
import io
import tarfile
import threading
import zipfile
from typing import Any

import grpc
import pytest
from PIL import Image
from sqlalchemy import Engine

from tests.support.fake_service import Failure as ServiceFailure
from tests.support.fake_service import FakeService, bad_request, retry_info
from tests.ui.sessions.conftest import RULES, Venue, ask, event, join, wait_for
from ui.recipe import Recipe
from ui.sessions import album, views
from ui.sessions.events import Stream
from ui.sessions.room import Guest, GuestPicture, PictureState, Room, Session, Verdict, line, now_ms
from ui.sessions.rules import Rules
from ui.sessions.store import Store
from ui.storage.archive import back_up
from ui.storage.picture import Picture

MADE = PictureState.MADE


def states(room: Room) -> list[PictureState]:
    return [picture.state for picture in room.pictures.values()]


def all_made(room: Room) -> bool:
    return bool(room.pictures) and set(states(room)) == {MADE}


def wall_ids(room: Room) -> list[str]:
    return [picture["id"] for picture in views.wall(room)["pictures"]]


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def try_to_ask(phone: Any, room: Room, prompt: str = "a cat", **more: Any) -> Any:
    return phone.post("/s/ask", json={"code": room.session.code, "prompt": prompt, **more})


def test_a_slow_database_holds_up_nobody_but_those_who_ask(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = venue.start()
    guest = venue.sessions.join(room, "g1", "Ada", consents=True)
    writing, written = threading.Event(), threading.Event()
    add = Store.add

    def slow(store: Store, *things: Any) -> None:
        writing.set()
        assert written.wait(10)
        add(store, *things)

    monkeypatch.setattr(Store, "add", slow)
    asking = threading.Thread(target=venue.sessions.ask, args=(room, guest, "a cat", None))
    asking.start()
    assert writing.wait(10)
    is_free = venue.sessions.lock.acquire(timeout=1)
    if is_free:
        venue.sessions.lock.release()
    written.set()
    asking.join(10)
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


class TestHosting:
    def test_a_pause_keeps_what_waits_and_resuming_makes_it(
        self, venue: Venue, service: FakeService
    ) -> None:
        service.step_s = 1.0
        room = venue.start(Rules(steps=2, pictures_per_guest=20))
        phone = join(venue, room)
        for _ in range(8):
            ask(phone, room)
        venue.sessions.change(room.session.id, paused=True)
        service.step_s = 0.0
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


def room_of(counts: dict[str, int]) -> Room:
    """Guests with so many waiting pictures each, asked for in that order."""
    session = Session("s", "o", "CODE", "n", "", Rules(), False, now_ms(), now_ms() + 10**6)
    room = Room(session)
    for guest_id, count in counts.items():
        room.guests[guest_id] = Guest(guest_id, "s", guest_id, True, False, 0, 0)
        for number in range(count):
            picture = GuestPicture(
                f"{guest_id}{number}",
                "s",
                guest_id,
                Recipe("a cat"),
                PictureState.WAITING,
                Verdict.SHOWN,
                False,
                "",
                len(room.pictures),
            )
            room.pictures[picture.id] = picture
    room.version += 1
    return room


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
        room = venue.start(Rules(steps=4))
        guest = venue.sessions.join(room, "g1", "Ada", True)

        async def watch() -> list[Any]:
            stream = Stream(venue.sessions, venue.runner, room, None, lambda: "")
            found = []
            async for message in stream.messages(None):
                if message.startswith(b"event"):
                    found.append(event(message.decode()))
                if found and found[-1][0] == "state" and found[-1][1]["pictures"]:
                    break
            return found

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0.05)
        venue.sessions.ask(room, guest, "a cat", None)
        found = await asyncio.wait_for(watching, 10)
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
        assert event((await asyncio.wait_for(anext(messages), 10)).decode())[1]["ended"]
        await messages.aclose()  # type: ignore[attr-defined]

    async def test_they_end_with_the_server(self, venue: Venue) -> None:
        room = venue.start()
        messages = Stream(venue.sessions, venue.runner, room, None, lambda: "").messages(None)
        await anext(messages)
        await anext(messages)
        venue.sessions.feed.close()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(messages), 5)

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


class TestAlbum:
    def test_it_holds_what_is_shown_as_it_was_made_with_sheet_and_page(self, venue: Venue) -> None:
        room = venue.start()
        phone = join(venue, room, "Ömer")
        shown, hidden = ask(phone, room, "a cat"), ask(phone, room, "a dog")
        wait_for(lambda: all_made(room))
        venue.sessions.judge(room.session.id, [hidden], Verdict.HIDDEN)
        made = album.make(venue.sessions, venue.gallery, room)
        with zipfile.ZipFile(io.BytesIO(made)) as archive:
            names = archive.namelist()
            assert names == [
                "pictures/001-mer-a-cat.png",
                "contact-sheet-1.png",
                "index.html",
            ]
            kept = venue.gallery.get(room.session.gallery_owner, shown)
            assert kept is not None
            assert archive.read(names[0]) == venue.gallery.read(kept)
            page = archive.read("index.html").decode()
            sheet = Image.open(io.BytesIO(archive.read("contact-sheet-1.png"))).convert("RGB")
            original = Image.open(io.BytesIO(archive.read(names[0]))).convert("RGB")
        assert "Ömer" in page
        assert "a dog" not in page
        assert "data:image/webp;base64," in page
        assert "http" not in page
        colour = original.getpixel((10, 10))
        found = sheet.getpixel((album.MARGIN + 100, 2 * album.MARGIN + 48 + 100))
        assert isinstance(colour, tuple)
        assert isinstance(found, tuple)
        assert max(abs(a - b) for a, b in zip(colour, found, strict=True)) < 12

    def test_a_file_that_somebody_removed_is_named(self, venue: Venue) -> None:
        room = venue.start()
        picture_id = ask(join(venue, room), room)
        wait_for(lambda: all_made(room))
        path = venue.gallery._files.original(picture_id)
        assert path is not None
        path.unlink()
        made = album.make(venue.sessions, venue.gallery, room)
        with zipfile.ZipFile(io.BytesIO(made)) as archive:
            assert archive.read("missing.txt") == b"001-ada-a-cat"


def test_rows_survive_on_both_databases(engine: Engine) -> None:
    store = Store(engine, "this studio")
    room = room_of({"ada": 2})
    room.session.rules = Rules(sizes=((64, 128),), address="http://[::1]:1")
    room.pictures["ada0"].state = PictureState.RUNNING
    store.add(room.session, *room.guests.values(), *room.pictures.values())
    room.pictures["ada1"].verdict = Verdict.HIDDEN
    store.change(room.pictures["ada1"])
    (found,) = store.load()
    room.pictures["ada0"].state = PictureState.WAITING
    assert found == room
    assert Store(engine, "another studio").load() == []
    store.delete("s")
    assert store.load() == []


def test_a_backup_holds_the_sessions(venue: Venue, tmp_path: Any) -> None:
    venue.start()
    back_up(venue.engine, tmp_path, tmp_path / "backup.tar")
    with tarfile.open(tmp_path / "backup.tar") as tar:
        file = tar.extractfile("tables/sessions.jsonl")
        assert file is not None
        assert b"Open day" in file.read()


def test_rules_are_read_back() -> None:
    read = Rules.from_dict({**RULES.to_dict(), "sizes": [[64, 128]], "later": 1})
    assert read.sizes == ((64, 128),)
