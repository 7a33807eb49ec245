"""Sessions in the database."""

from __future__ import annotations

import tarfile
from typing import Any

from sqlalchemy import Engine

from tests.ui.sessions.conftest import RULES, Venue, room_of
from ui.sessions.room import PictureState, Verdict
from ui.sessions.rules import Rules
from ui.sessions.store import Store
from ui.storage.archive import back_up


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
