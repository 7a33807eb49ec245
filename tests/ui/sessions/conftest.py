"""A room in front of a scripted image server, and phones that visit it over HTTP."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from client import Text2ImageClient
from tests.support.fake_service import FakeService
from ui.access import VisitorGuard, host_route
from ui.identity import Signer
from ui.recipe import UNKNOWN, Recipe
from ui.sessions import views
from ui.sessions.guesses import Guesses
from ui.sessions.passes import Passes
from ui.sessions.room import Guest, GuestPicture, PictureState, Room, Session, Verdict, now_ms
from ui.sessions.routes import SessionRoutes, Shared
from ui.sessions.rules import Rules
from ui.sessions.runner import Runner
from ui.sessions.sessions import Sessions
from ui.sessions.store import Store
from ui.storage.database import prepare
from ui.storage.files import PictureFiles
from ui.storage.gallery import Gallery
from ui.web import SecurityHeaders

SIGNER = Signer(b"secret")
PHONE = ("192.168.1.50", 50000)
HERE = ("127.0.0.1", 50000)
PATIENCE_S = 60.0
RULES = Rules(steps=2, address="http://192.168.1.20:8501")


@dataclass
class Venue:
    """All that a demo session needs, without a browser."""

    sessions: Sessions
    runner: Runner
    gallery: Gallery
    engine: sa.Engine
    app: Starlette
    passes: Passes
    reopen: Callable[[], Venue]

    def phone(self, address: tuple[str, int] = PHONE) -> TestClient:
        return TestClient(self.app, client=address)

    def start(self, rules: Rules = RULES, name: str = "Open day") -> Room:
        return self.sessions.start("b-host", name, "animals", rules, 60)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database to make copies of, which is quicker than migrating each."""
    path = tmp_path_factory.mktemp("migrated") / "gallery.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    prepare(engine)
    engine.dispose()
    return path


@pytest.fixture
def venue(service: FakeService, migrated: Path, tmp_path: Path) -> Iterator[Venue]:
    shutil.copy(migrated, tmp_path / "gallery.db")
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'gallery.db'}")
    files = PictureFiles(tmp_path / "pictures")
    files.prepare()
    opened: list[tuple[Runner, Text2ImageClient]] = []

    def open_venue() -> Venue:
        for runner, _ in opened:
            runner.close()
        gallery = Gallery(engine, files, quota_bytes=10**7)
        sessions = Sessions(Store(engine, "this studio"), gallery, lambda: UNKNOWN)
        client = Text2ImageClient(service.address)
        runner = Runner(sessions, client, gallery)
        opened.append((runner, client))
        passes, guesses = Passes(SIGNER), Guesses()
        routes = SessionRoutes(lambda: Shared(sessions, runner, files), passes, guesses).routes()
        app = Starlette(
            routes=[
                *routes,
                host_route(passes, guesses),
                Route("/{path:path}", lambda _request: PlainTextResponse("the studio")),
                WebSocketRoute("/_stcore/stream", _socket),
            ],
            middleware=[Middleware(SecurityHeaders), Middleware(VisitorGuard, passes=passes)],
        )
        return Venue(sessions, runner, gallery, engine, app, passes, open_venue)

    yield open_venue()
    for runner, client in opened:
        runner.close()
        client.close()
    engine.dispose()


async def _socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("the studio")
    await websocket.close()


def join(
    venue: Venue, room: Room, nickname: str = "Ada", *, consents: bool = True, phone: Any = None
) -> TestClient:
    """Somebody who has joined, as their phone."""
    phone = phone or venue.phone()
    answer = phone.post("/s/join", json=joining(venue, room, nickname, consents=consents))
    assert answer.status_code == 200, answer.text
    return phone  # type: ignore[no-any-return]


def joining(
    venue: Venue, room: Room, nickname: str = "Ada", *, consents: bool = True
) -> dict[str, Any]:
    """What the welcome page sends, with an invitation as its stream carries it."""
    return {
        "code": room.session.code,
        "nickname": nickname,
        "consents": consents,
        "invitation": venue.passes.invitation(room.session.id),
    }


def ask(phone: TestClient, room: Room, prompt: str = "a cat", **more: Any) -> str:
    """The id of a picture that somebody has asked for."""
    answer = phone.post("/s/ask", json={"code": room.session.code, "prompt": prompt, **more})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["ids"][0])


def wait_for(what: Callable[[], Any]) -> Any:
    """Until it is true; fails where it never is."""
    end = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return found


def event(text: str) -> tuple[str, Any]:
    """One server-sent event's name and data."""
    lines = dict(line.split(": ", 1) for line in text.strip().splitlines())
    return lines["event"], json.loads(lines["data"])


def states(room: Room) -> list[PictureState]:
    return [picture.state for picture in room.pictures.values()]


def all_made(room: Room) -> bool:
    return bool(room.pictures) and set(states(room)) == {PictureState.MADE}


def wall_ids(room: Room) -> list[str]:
    return [picture["id"] for picture in views.wall(room)["pictures"]]


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def try_to_ask(phone: Any, room: Room, prompt: str = "a cat", **more: Any) -> Any:
    return phone.post("/s/ask", json={"code": room.session.code, "prompt": prompt, **more})


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
