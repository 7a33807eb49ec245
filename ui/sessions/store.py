"""Stores sessions in the database, so that they survive restarts and closed tabs."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from ui.recipe import Recipe
from ui.sessions.room import Guest, GuestPicture, PictureState, Room, Session, Verdict
from ui.sessions.rules import Rules
from ui.storage.schema import GUEST_PICTURES, GUESTS, SESSIONS

TABLES: dict[type, sa.Table] = {Session: SESSIONS, Guest: GUESTS, GuestPicture: GUEST_PICTURES}
Kept = Session | Guest | GuestPicture


class Store:
    """The rows of this studio's sessions."""

    def __init__(self, engine: Engine, studio: str) -> None:
        self._engine = engine
        self._studio = studio

    def load(self) -> list[Room]:
        """Load all sessions with their guests and pictures, the oldest first."""
        with self._engine.connect() as connection:
            mine = sa.select(SESSIONS).where(SESSIONS.c.studio == self._studio)
            found = connection.execute(mine.order_by(SESSIONS.c.created_at)).mappings().all()
            rooms = {row["id"]: Room(_session(row)) for row in found}
            of_mine = sa.select(SESSIONS.c.id).where(SESSIONS.c.studio == self._studio)
            guests = sa.select(GUESTS).where(GUESTS.c.session_id.in_(of_mine))
            for row in connection.execute(guests.order_by(GUESTS.c.joined_at)).mappings():
                rooms[row["session_id"]].guests[row["id"]] = _guest(row)
            pictures = sa.select(GUEST_PICTURES).where(GUEST_PICTURES.c.session_id.in_(of_mine))
            in_order = pictures.order_by(GUEST_PICTURES.c.created_at, GUEST_PICTURES.c.id)
            for row in connection.execute(in_order).mappings():
                rooms[row["session_id"]].pictures[row["id"]] = _picture(row)
        return list(rooms.values())

    def add(self, *things: Kept) -> None:
        """Insert rows in one transaction.

        Raises:
            sqlalchemy.exc.IntegrityError: one of them already exists.
        """
        with self._engine.begin() as connection:
            for thing in things:
                connection.execute(TABLES[type(thing)].insert().values(**self._row(thing)))

    def change(self, *things: Kept) -> None:
        """Update the rows."""
        with self._engine.begin() as connection:
            for thing in things:
                table = TABLES[type(thing)]
                update = table.update().where(table.c.id == thing.id)
                connection.execute(update.values(**self._row(thing)))

    def delete(self, session_id: str) -> None:
        """Delete a session with its guests and pictures."""
        with self._engine.begin() as connection:
            for table in (GUEST_PICTURES, GUESTS):
                connection.execute(table.delete().where(table.c.session_id == session_id))
            connection.execute(SESSIONS.delete().where(SESSIONS.c.id == session_id))

    def _row(self, thing: Kept) -> dict[str, Any]:
        columns = TABLES[type(thing)].columns.keys()
        row = {f.name: getattr(thing, f.name) for f in fields(thing) if f.name in columns}
        match thing:
            case Session():
                row |= {"rules": thing.rules.to_dict(), "studio": self._studio}
            case GuestPicture():
                state = PictureState.WAITING if thing.state.is_active else thing.state
                row |= {"recipe": thing.recipe.to_dict(), "state": state.value}
                row["verdict"] = thing.verdict.value
        return row


def _session(row: sa.RowMapping) -> Session:
    values = {f.name: row[f.name] for f in fields(Session)}
    return Session(**values | {"rules": Rules.from_dict(row["rules"])})


def _guest(row: sa.RowMapping) -> Guest:
    return Guest(**{f.name: row[f.name] for f in fields(Guest) if f.name in row})


def _picture(row: sa.RowMapping) -> GuestPicture:
    values = {f.name: row[f.name] for f in fields(GuestPicture) if f.name in row}
    return GuestPicture(
        **values
        | {
            "recipe": Recipe.from_dict(row["recipe"]),
            "state": PictureState(row["state"]),
            "verdict": Verdict(row["verdict"]),
        }
    )
