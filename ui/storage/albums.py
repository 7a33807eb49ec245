"""Albums: an owner's pictures under a name, which a link can show to others for a while."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Engine

from ui.storage.gallery import now_ms
from ui.storage.schema import ALBUM_PICTURES, ALBUMS, PICTURES

MAX_PICTURES = 200  # so that a zip file holds the whole album
MAX_ALBUMS = 200  # of one owner
MAX_NAME = 80  # characters


@dataclass(frozen=True, slots=True)
class Album:
    """An album; `share_key` is None while no link shows it."""

    id: str
    owner: str
    name: str
    share_key: str | None


class AlbumRefused(ValueError):
    """It can't be done; the message is a sentence for the owner."""


class Albums:
    """Albums by owner. Safe to use from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, owner: str, name: str) -> Album:
        """Make an empty album.

        Raises:
            AlbumRefused: the name says nothing, or there are too many albums.
        """
        album = Album(uuid.uuid4().hex, owner, _checked(name), None)
        if len(self.of(owner)) >= MAX_ALBUMS:
            raise AlbumRefused(f"There are {MAX_ALBUMS} albums already: delete one first.")
        values = {"id": album.id, "owner": owner, "name": album.name, "created_at": now_ms()}
        with self._engine.begin() as connection:
            connection.execute(ALBUMS.insert().values(**values))
        return album

    def of(self, owner: str) -> list[Album]:
        """The owner's albums by name."""
        return sorted(self._found(ALBUMS.c.owner == owner), key=lambda a: a.name.casefold())

    def get(self, owner: str, album_id: str) -> Album | None:
        """The owner's album, or None: there is none, or it is someone else's."""
        mine = (ALBUMS.c.owner == owner) & (ALBUMS.c.id == album_id)
        return next(iter(self._found(mine)), None)

    def shared(self, album_id: str, share_key: str) -> Album | None:
        """The album that a link shows, or None: its owner has ended that."""
        meant = (ALBUMS.c.id == album_id) & (ALBUMS.c.share_key == share_key)
        return next(iter(self._found(meant)), None)

    def rename(self, owner: str, album_id: str, name: str) -> None:
        """Raises:
        AlbumRefused: the name says nothing.
        """
        self._update(owner, album_id, name=_checked(name))

    def share(self, owner: str, album_id: str) -> None:
        """Let links show it: those that carry its share key."""
        self._update(owner, album_id, share_key=uuid.uuid4().hex, only_unshared=True)

    def unshare(self, owner: str, album_id: str) -> None:
        """End all links that were ever made."""
        self._update(owner, album_id, share_key=None)

    def delete(self, owner: str, album_id: str) -> None:
        """Take the album away; its pictures stay in the gallery."""
        if self.get(owner, album_id) is None:
            return
        with self._engine.begin() as connection:
            connection.execute(ALBUM_PICTURES.delete().where(_in_album(album_id)))
            connection.execute(ALBUMS.delete().where(ALBUMS.c.id == album_id))

    def add(self, owner: str, album_id: str, picture_ids: Iterable[str]) -> int:
        """Put the owner's pictures in; returns how many were not there before.

        Raises:
            AlbumRefused: the album would hold too many.
        """
        if self.get(owner, album_id) is None:
            return 0
        with self._engine.begin() as connection:
            mine = (PICTURES.c.owner == owner) & PICTURES.c.id.in_(list(picture_ids))
            found = set(connection.execute(sa.select(PICTURES.c.id).where(mine)).scalars())
            there = sa.select(ALBUM_PICTURES.c.picture_id).where(_in_album(album_id))
            before = set(connection.execute(there).scalars())
            if len(found | before) > MAX_PICTURES:
                raise AlbumRefused(f"An album holds {MAX_PICTURES} pictures at most.")
            rows = [{"album_id": album_id, "picture_id": i} for i in sorted(found - before)]
            if rows:
                connection.execute(ALBUM_PICTURES.insert(), rows)
        return len(rows)

    def remove(self, owner: str, album_id: str, picture_ids: Iterable[str]) -> None:
        """Take pictures out; they stay in the gallery."""
        if self.get(owner, album_id) is None:
            return
        gone = _in_album(album_id) & ALBUM_PICTURES.c.picture_id.in_(list(picture_ids))
        with self._engine.begin() as connection:
            connection.execute(ALBUM_PICTURES.delete().where(gone))

    def _found(self, condition: sa.ColumnElement[bool]) -> list[Album]:
        columns = (ALBUMS.c.id, ALBUMS.c.owner, ALBUMS.c.name, ALBUMS.c.share_key)
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(*columns).where(condition)).all()
        return [Album(*row) for row in rows]

    def _update(
        self, owner: str, album_id: str, *, only_unshared: bool = False, **values: str | None
    ) -> None:
        mine = (ALBUMS.c.owner == owner) & (ALBUMS.c.id == album_id)
        if only_unshared:
            mine &= ALBUMS.c.share_key.is_(None)
        with self._engine.begin() as connection:
            connection.execute(ALBUMS.update().where(mine).values(**values))


def _in_album(album_id: str) -> sa.ColumnElement[bool]:
    return ALBUM_PICTURES.c.album_id == album_id


def _checked(name: str) -> str:
    words = " ".join("".join(c for c in name if c.isprintable()).split())[:MAX_NAME]
    if not words:
        raise AlbumRefused("Give the album a name.")
    return words
