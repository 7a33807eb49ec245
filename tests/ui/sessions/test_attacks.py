"""What strangers and guests must not be able to do, each tried."""

from __future__ import annotations

import base64
import json
import re

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tests.support.fake_service import FakeService
from tests.ui.sessions.conftest import HERE, PHONE, RULES, Venue, ask, join, joining, wait_for
from ui.sessions import album, views
from ui.sessions.asking import MAX_NICKNAME
from ui.sessions.guesses import WRONG_CODES, WRONG_PASSWORDS
from ui.sessions.passes import HOST_COOKIE, guest_cookie
from ui.sessions.room import PictureState, Room, Verdict
from ui.sessions.routes import SessionRoutes
from ui.sessions.rules import Rules

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def made(venue: Venue, room: Room, phone: TestClient, prompt: str = "a cat") -> str:
    """A finished picture's id."""
    picture_id = ask(phone, room, prompt)
    wait_for(lambda: room.pictures[picture_id].state is PictureState.MADE)
    return picture_id


def picture(phone: TestClient, room: Room, picture_id: str, kind: str = "full") -> int:
    return phone.get(f"/s/picture/{picture_id}/{kind}?code={room.session.code}").status_code


class TestCodes:
    def test_guessing_is_stopped_and_then_even_the_right_code_tells_nothing(
        self, venue: Venue
    ) -> None:
        room, phone = venue.start(), venue.phone()
        for number in range(WRONG_CODES.amount):
            assert phone.get(f"/s/qr?code=AAAA{number + 2222}").status_code == 404
        assert phone.get("/s/qr?code=BBBB2222").status_code == 429
        assert phone.get(f"/s/qr?code={room.session.code}").status_code == 429
        assert phone.post("/s/join", json=joining(venue, room)).status_code == 429

    def test_another_phone_and_a_guest_who_is_in_are_not_punished_for_it(
        self, venue: Venue
    ) -> None:
        room = venue.start()
        guest, other = join(venue, room), venue.phone(("192.168.1.51", 50000))
        for _ in range(WRONG_CODES.amount + 1):
            guest.get("/s/qr?code=AAAA2222")
        assert guest.get(f"/s/qr?code={room.session.code}").status_code == 200
        assert other.get(f"/s/qr?code={room.session.code}").status_code == 200

    @pytest.mark.parametrize("code", ["", "ABC", "A" * 10_000, "ABCD-234'", "ÄBCD2345", "\0" * 8])
    def test_what_can_be_no_code_is_refused(self, venue: Venue, code: str) -> None:
        assert venue.phone().get("/s/qr", params={"code": code}).status_code == 404

    def test_codes_are_read_as_people_type_them(self, venue: Venue) -> None:
        code = venue.start().session.code
        typed = f" {code[:4].lower()} - {code[4:]}"
        assert venue.phone().get("/s/qr", params={"code": typed}).status_code == 200


class TestPictures:
    def test_of_another_session_are_not_found(self, venue: Venue) -> None:
        ours, theirs = venue.start(), venue.start()
        picture_id = made(venue, theirs, join(venue, theirs))
        spy = join(venue, ours)
        assert picture(spy, theirs, picture_id) == 200  # with the code, as the wall
        assert picture(spy, ours, picture_id) == 404

    def test_that_are_hidden_pending_or_without_consent_are_their_guests_alone(
        self, venue: Venue
    ) -> None:
        room = venue.start(Rules(steps=2, approve_first=True))
        ada, eve = join(venue, room), join(venue, room, "Eve", phone=venue.phone())
        shy = join(venue, room, "Shy", consents=False, phone=venue.phone())
        pending, private = made(venue, room, ada), made(venue, room, shy)
        venue.sessions.judge(room.session.id, [private], Verdict.SHOWN)
        assert [picture(p, room, pending) for p in (ada, eve)] == [200, 404]
        assert [picture(p, room, private) for p in (shy, eve)] == [200, 404]
        venue.sessions.judge(room.session.id, [pending], Verdict.SHOWN)
        assert picture(eve, room, pending) == 200
        venue.sessions.judge(room.session.id, [pending], Verdict.HIDDEN)
        assert [picture(p, room, pending) for p in (ada, eve)] == [200, 404]

    def test_of_a_host_s_gallery_are_not_found(self, venue: Venue) -> None:
        room = venue.start()
        phone = join(venue, room)
        for picture_id in ("0" * 32, "../secret", "..%2f..%2fsecret", "gallery.db"):
            assert picture(phone, room, picture_id) == 404

    def test_that_are_withheld_reach_nobody(self, venue: Venue, service: FakeService) -> None:
        service.nsfw = [0]
        room = venue.start()
        phone = join(venue, room)
        picture_id = ask(phone, room)
        wait_for(lambda: room.pictures[picture_id].state is PictureState.WITHHELD)
        assert picture(phone, room, picture_id) == 404
        assert views.wall(room)["pictures"] == []
        venue.sessions.highlight(room.session.id, picture_id, True)
        assert views.wall(room)["pictures"] == []


class TestCookies:
    def test_a_forged_one_is_nobody_s(self, venue: Venue) -> None:
        room = venue.start()
        ada = join(venue, room)
        name = guest_cookie(room.session.id)
        payload, stamp, signature = ada.cookies[name].rsplit(".", 2)
        guest = base64.urlsafe_b64encode(json.dumps([room.session.id, "0" * 32]).encode()).decode()
        for forged in (f"{guest}.{stamp}.{signature}", f"{payload}.{stamp}.AAAA", "x", payload):
            eve = venue.phone()
            eve.cookies.set(name, forged)
            answer = eve.post("/s/ask", json={"code": room.session.code, "prompt": "a cat"})
            assert answer.status_code == 401

    def test_one_of_another_session_is_nobody_s_here(self, venue: Venue) -> None:
        ours, theirs = venue.start(), venue.start()
        ada = join(venue, theirs)
        cookie = ada.cookies[guest_cookie(theirs.session.id)]
        ada.cookies.set(guest_cookie(ours.session.id), cookie)
        answer = ada.post("/s/ask", json={"code": ours.session.code, "prompt": "a cat"})
        assert answer.status_code == 401

    def test_it_is_kept_from_scripts_and_other_sites(self, venue: Venue) -> None:
        room = venue.start()
        answer = venue.phone().post("/s/join", json=joining(venue, room))
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert "SameSite=lax" in answer.headers["set-cookie"]


class TestJoining:
    def test_an_invitation_works_once(self, venue: Venue) -> None:
        room = venue.start()
        sent = joining(venue, room)
        assert venue.phone().post("/s/join", json=sent).status_code == 200
        assert venue.phone().post("/s/join", json=sent).status_code == 409
        assert len(room.guests) == 1

    def test_an_invitation_to_another_session_does_not(self, venue: Venue) -> None:
        ours, theirs = venue.start(), venue.start()
        sent = joining(venue, ours) | {"invitation": venue.passes.invitation(theirs.session.id)}
        assert venue.phone().post("/s/join", json=sent).status_code == 403

    def test_who_is_in_gets_no_second_allowance(self, venue: Venue) -> None:
        room = venue.start()
        phone = join(venue, room)
        join(venue, room, "Again", phone=phone)
        assert [guest.nickname for guest in room.guests.values()] == ["Ada"]

    @pytest.mark.parametrize("nickname", ["", "   ", "x" * 10_000, "\u200b\u200d\0\n", 7, None])
    def test_no_nickname_or_an_endless_one_is_refused(self, venue: Venue, nickname: object) -> None:
        room = venue.start()
        sent = joining(venue, room) | {"nickname": nickname}
        assert venue.phone().post("/s/join", json=sent).status_code == 400
        assert room.guests == {}

    def test_a_huge_body_is_not_read(self, venue: Venue) -> None:
        room = venue.start()
        sent = joining(venue, room) | {"nickname": "x" * 10**6}
        assert venue.phone().post("/s/join", json=sent).status_code == 404

    @pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 9000, b"null", b'"x"'])
    def test_what_is_no_request_is_refused(self, venue: Venue, body: bytes) -> None:
        for path in ("/s/join", "/s/ask", "/s/cancel"):
            assert venue.phone().post(path, content=body).status_code == 404


class TestScripts:
    def test_in_nickname_and_prompt_stay_text_everywhere(self, venue: Venue) -> None:
        room = venue.start(name=SCRIPT)
        nickname = SCRIPT[:MAX_NICKNAME]
        made(venue, room, join(venue, room, nickname), SCRIPT)
        shown = views.wall(room)["pictures"][0]
        assert (shown["prompt"], shown["by"]) == (SCRIPT, nickname)  # text for textContent
        items, _ = album._items(venue.sessions, venue.gallery, room)
        page = album.page(room.session, items)
        assert "<script" not in page
        assert "onerror=alert" not in page.replace("&gt;&lt;img src=x onerror=alert(2)&gt;", "")
        assert items[0].name.isascii()
        assert not set(items[0].name) & set("<>()/ ")

    @pytest.mark.parametrize("path", ["/wall", "/join", "/host"])
    def test_no_page_takes_any_that_is_not_a_file_of_ours(self, venue: Venue, path: str) -> None:
        answer = venue.phone().get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "<script>" not in answer.text
        assert " style=" not in answer.text
        assert not re.search(r"\son\w+=", answer.text)


class TestTheHostsOwn:
    def test_no_route_of_guests_acts_for_a_host(self) -> None:
        routes = SessionRoutes(lambda: None, None, None).routes()  # type: ignore[arg-type, return-value]
        writing = {route.path for route in routes if "POST" in (route.methods or ())}
        assert writing == {"/s/join", "/s/ask", "/s/cancel"}

    def test_a_guest_cannot_cancel_another_s_picture(
        self, venue: Venue, service: FakeService
    ) -> None:
        service.hang_at_step = 1
        room = venue.start()
        ada, eve = join(venue, room), join(venue, room, "Eve", phone=venue.phone())
        picture_id = ask(ada, room)
        eve.post("/s/cancel", json={"code": room.session.code, "id": picture_id})
        assert room.pictures[picture_id].state.is_active
        ada.post("/s/cancel", json={"code": room.session.code, "id": picture_id})
        assert room.pictures[picture_id].state is PictureState.CANCELLED
        assert service.wait_cancelled()

    @pytest.mark.parametrize("path", ["/", "/sessions", "/gallery", "/img/abc/full", "/_stcore/x"])
    def test_a_phone_finds_the_door_shut(self, venue: Venue, path: str) -> None:
        answer = venue.phone().get(path)
        assert answer.status_code == 403
        assert answer.text != "the studio"
        assert "The host’s password" in answer.text

    def test_a_phone_gets_no_socket_of_the_studio(self, venue: Venue) -> None:
        with (
            pytest.raises(WebSocketDisconnect) as refusal,
            venue.phone().websocket_connect("/_stcore/stream"),
        ):
            pass
        assert refusal.value.code == 1008
        with venue.phone(HERE).websocket_connect("/_stcore/stream") as socket:
            assert socket.receive_text() == "the studio"

    @pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
    def test_a_tunnel_that_ends_on_this_machine_is_no_loopback(
        self, venue: Venue, name: str
    ) -> None:
        here = venue.phone(HERE)
        assert here.get("/sessions").text == "the studio"
        assert here.get("/sessions", headers={name: "127.0.0.1"}).status_code == 403

    def test_the_password_lets_the_host_s_phone_in(self, venue: Venue) -> None:
        phone = venue.phone()
        answer = phone.post(
            "/host", data={"password": venue.passes.password}, follow_redirects=False
        )
        assert (answer.status_code, answer.headers["location"]) == (303, "/sessions")
        assert phone.get("/sessions").text == "the studio"
        assert venue.passes.password not in phone.cookies[HOST_COOKIE]

    def test_a_link_lets_the_host_s_phone_in_and_a_guest_s_cookie_does_not(
        self, venue: Venue
    ) -> None:
        room = venue.start()
        assert venue.phone().get(f"/host?key={venue.passes.link()}").text == "the studio"
        guest = join(venue, room)
        cookie = guest.cookies[guest_cookie(room.session.id)]
        guest.cookies.set(HOST_COOKIE, cookie)
        assert guest.get("/sessions").status_code == 403
        assert guest.get(f"/host?key={cookie}").status_code == 403

    def test_guessing_the_password_is_stopped(self, venue: Venue) -> None:
        phone = venue.phone()
        tries = [phone.post("/host", data={"password": str(n)}).status_code for n in range(6)]
        assert tries == [403] * WRONG_PASSWORDS.amount + [429]
        right = {"password": venue.passes.password}
        assert phone.post("/host", data=right).status_code == 429


def test_the_first_load_of_a_phone_is_small(venue: Venue) -> None:
    phone = venue.phone(PHONE)
    page = phone.get("/join")
    names = [part.partition('"')[0] for part in page.text.split("s/file/")[1:]]
    common = phone.get(f"/s/file/{names[-1]}").text.split('"./')[1:]
    names += [part.partition('"')[0] for part in common]
    total = len(page.content) + sum(len(phone.get(f"/s/file/{name}").content) for name in names)
    assert len(names) >= 4
    assert total <= 60_000  # far below the 300 kB that are allowed
    assert RULES.steps == 2
