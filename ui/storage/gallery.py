"""The gallery of all owners' pictures: files plus database rows."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from ui.recipe import Recipe
from ui.storage.decoding import mime_type_of
from ui.storage.files import PictureFiles
from ui.storage.parts import parts
from ui.storage.picture import Picture as Picture
from ui.storage.picture import check
from ui.storage.quota import Quota
from ui.storage.schema import ALBUM_PICTURES, ALBUMS, JOBS, PICTURES, group_of
from ui.storage.search import Search as Search
from ui.storage.search import Stack, members, ordered, tops, where

PAGE_SIZE = 24
UNDO_MS = 3_600_000  # deleted pictures can be brought back for an hour
GONE = PICTURES.c.deleted_at.is_not(None)


class Gallery:
    """Pictures by owner. Thread-safe."""

    def __init__(self, engine: Engine, files: PictureFiles, quota_bytes: int) -> None:
        self._engine = engine
        self._files = files
        self._quota = Quota(quota_bytes, self.bytes_used, self._purge_deleted)

    def add(
        self,
        owner: str,
        data: bytes,
        recipe: Recipe,
        *,
        picture_id: str | None = None,
        job_id: str | None = None,
        batch_id: str | None = None,
        duration_ms: int = 0,
    ) -> Picture:
        """Save one picture: its files first, then its row.

        If writing the row fails, the files are kept: the next start, or another call with the same
        `picture_id`, writes the row.

        Raises:
            Unkeepable: the gallery doesn't accept such pictures.
            QuotaFull: the owner's disk quota is used up.
            OSError: the files could not be written.
            sqlalchemy.exc.SQLAlchemyError: the row could not be written.
        """
        check(recipe)
        picture = Picture(
            **_columns(recipe),
            id=picture_id or uuid.uuid4().hex,
            owner=owner,
            created_at=now_ms(),
            job_id=job_id,
            batch_id=batch_id,
            duration_ms=duration_ms,
            mime_type=mime_type_of(data),
            num_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            favourite=False,
            deleted_at=None,
        )
        with self._quota.reserved(owner, len(data)):
            self._files.write(picture.id, data, picture.mime_type, picture.note())
            self._insert(picture)
        return picture

    def page(self, owner: str, search: Search, number: int, size: int = PAGE_SIZE) -> list[Picture]:
        """One page of pictures; the first page is 1."""
        return self._pictures(ordered(owner, search).limit(size).offset((number - 1) * size))

    def stacks(
        self,
        owner: str,
        search: Search,
        number: int,
        size: int = PAGE_SIZE,
        *,
        together: bool = True,
    ) -> list[Stack]:
        """One page of pictures: those that one click made in one stack, or each by itself."""
        if not together:
            alone = self.page(owner, search, number, size)
            return [Stack(picture, picture.id, (picture.id,)) for picture in alone]
        query = tops(owner, search).limit(size).offset((number - 1) * size)
        with self._engine.connect() as connection:
            found = connection.execute(query).mappings().all()
            groups = [row["group_id"] for row in found]
            ids: defaultdict[str, list[str]] = defaultdict(list)
            rows = connection.execute(members(owner, search, groups)).all()
            for _created_at, picture_id, group in sorted(map(tuple, rows)):
                ids[group].append(picture_id)
        return [
            Stack(Picture.from_row(row), group, tuple(ids[group]) or (row["id"],))
            for row, group in zip(found, groups, strict=True)
        ]

    def count(self, owner: str, search: Search | None = None) -> int:
        """Number of pictures that match a search."""
        return self._count(sa.func.count(), owner, search or Search())

    def count_stacks(self, owner: str, search: Search) -> int:
        """How many stacks they lie in."""
        return self._count(sa.func.count(group_of(PICTURES).distinct()), owner, search)

    def ids(self, owner: str, search: Search, limit: int) -> list[str]:
        query = ordered(owner, search).with_only_columns(PICTURES.c.id).limit(limit)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def get(self, owner: str, picture_id: str) -> Picture | None:
        """The owner's picture, or None if it doesn't exist or belongs to someone else."""
        return next(iter(self.get_many(owner, [picture_id])), None)

    def holds(self, owner: str, data: bytes) -> bool:
        """Whether the owner has a picture with exactly this file."""
        digest = hashlib.sha256(data).hexdigest()
        query = _all().where(PICTURES.c.owner == owner, PICTURES.c.sha256 == digest, ~GONE)
        return bool(self._pictures(query.limit(1)))

    def get_many(self, owner: str, picture_ids: Sequence[str]) -> list[Picture]:
        """The owner's pictures among these ids, in their order."""
        query = _all().where(PICTURES.c.owner == owner, PICTURES.c.id.in_(picture_ids), ~GONE)
        found = {picture.id: picture for picture in self._pictures(query)}
        return [found[i] for i in picture_ids if i in found]

    def of_batch(self, owner: str, batch_id: str) -> dict[int, Picture]:
        """The pictures of a batch by grid cell."""
        query = (
            _all()
            .add_columns(JOBS.c.cell)
            .join(JOBS, JOBS.c.id == PICTURES.c.job_id)
            .where(PICTURES.c.owner == owner, PICTURES.c.batch_id == batch_id, ~GONE)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return {row["cell"]: Picture.from_row(row) for row in rows}

    def neighbours(
        self, owner: str, picture: Picture, search: Search
    ) -> tuple[str | None, str | None]:
        """The previous and next id in the order of the search."""
        here = (PICTURES.c.created_at, PICTURES.c.id)
        place = sa.tuple_(*(sa.literal(v) for v in (picture.created_at, picture.id)))
        older = self._first_id(
            owner, search, sa.tuple_(*here) < place, [column.desc() for column in here]
        )
        newer = self._first_id(
            owner, search, sa.tuple_(*here) > place, [column.asc() for column in here]
        )
        return (older, newer) if search.oldest_first else (newer, older)

    def set_favourite(self, owner: str, picture_id: str, favourite: bool) -> None:
        """Mark a picture as favourite, or unmark it."""
        self._run(
            PICTURES.update()
            .where(PICTURES.c.owner == owner, PICTURES.c.id == picture_id)
            .values(favourite=favourite)
        )
        picture = self.get(owner, picture_id)
        if picture is not None:
            self._files.write_note(picture_id, picture.note())

    def delete(self, owner: str, picture_ids: Iterable[str]) -> int:
        """Delete pictures; `restore` can undo it within an hour. Returns the number."""
        found = self._own(owner, picture_ids)
        count = self._mark(found, deleted_at=now_ms())
        for picture_id in found:
            self._files.mark_deleted(picture_id)
        return count

    def restore(self, owner: str, picture_ids: Iterable[str]) -> int:
        """Restore deleted pictures; returns the number."""
        found = self._own(owner, picture_ids)
        for picture_id in found:
            self._files.unmark_deleted(picture_id)
        return self._mark(found, deleted_at=None)

    def purge(self, *, older_than_ms: int = UNDO_MS) -> int:
        """Permanently remove pictures that owners deleted that long ago; returns the number."""
        return self._remove(self._ids(PICTURES.c.deleted_at <= now_ms() - older_than_ms))

    def delete_everything(self, owner: str) -> int:
        """Permanently remove everything of an owner; returns the number of pictures."""
        ids = self._ids(PICTURES.c.owner == owner)
        self.delete(owner, ids)
        removed = self._remove(ids)
        self._run(JOBS.delete().where(JOBS.c.owner == owner))
        self._run(ALBUMS.delete().where(ALBUMS.c.owner == owner))
        return removed

    def bytes_used(self, owner: str) -> int:
        """Bytes of the owner's originals, including deleted ones until they are purged."""
        query = sa.select(sa.func.coalesce(sa.func.sum(PICTURES.c.num_bytes), 0))
        return int(self._scalar(query.where(PICTURES.c.owner == owner)))

    def read(self, picture: Picture) -> bytes:
        """The original file, byte for byte.

        Raises:
            FileNotFoundError: the file was removed.
        """
        path = self._files.original(picture.id)
        if path is None:
            raise FileNotFoundError(f"the file of picture {picture.id} is gone")
        return path.read_bytes()

    def _purge_deleted(self, owner: str) -> None:
        self._remove(self._ids((PICTURES.c.owner == owner) & GONE))

    def _insert(self, picture: Picture) -> None:
        """Write the row, unless an earlier attempt did and only its answer was lost."""
        try:
            self._run(PICTURES.insert().values(**picture.row()))
        except sa.exc.IntegrityError:
            if not self._ids(PICTURES.c.id == picture.id):
                raise

    def _first_id(self, owner: str, search: Search, side: Any, order: list[Any]) -> str | None:
        conditions = (*where(owner, search), side)
        query = sa.select(PICTURES.c.id).where(*conditions).order_by(*order).limit(1)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar()

    def _own(self, owner: str, picture_ids: Iterable[str]) -> list[str]:
        mine = PICTURES.c.owner == owner
        return [i for part in parts(picture_ids) for i in self._ids(mine & PICTURES.c.id.in_(part))]

    def _ids(self, condition: sa.ColumnElement[bool]) -> list[str]:
        with self._engine.connect() as connection:
            return list(connection.execute(sa.select(PICTURES.c.id).where(condition)).scalars())

    def _mark(self, picture_ids: list[str], *, deleted_at: int | None) -> int:
        marked = PICTURES.update().values(deleted_at=deleted_at)
        return sum(self._run(marked.where(PICTURES.c.id.in_(p))) for p in parts(picture_ids))

    def _remove(self, picture_ids: list[str]) -> int:
        """Remove files marked as deleted, then their rows; returns the number.

        If the original is not marked, both are kept for the recovery: a row alone proves nothing.
        """
        gone = [i for i in picture_ids if self._files.remove_deleted(i)]
        for part in parts(gone):
            self._run(ALBUM_PICTURES.delete().where(ALBUM_PICTURES.c.picture_id.in_(part)))
            self._run(PICTURES.delete().where(PICTURES.c.id.in_(part)))
        return len(gone)

    def _pictures(self, query: sa.Select[Any]) -> list[Picture]:
        with self._engine.connect() as connection:
            return [Picture.from_row(row) for row in connection.execute(query).mappings()]

    def _count(self, what: Any, owner: str, search: Search) -> int:
        query = sa.select(what).select_from(PICTURES).where(*where(owner, search))
        return int(self._scalar(query))

    def _scalar(self, query: sa.Select[Any]) -> Any:
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def _run(self, statement: Any) -> int:
        with self._engine.begin() as connection:
            return int(connection.execute(statement).rowcount)


def _all() -> sa.Select[Any]:
    return sa.select(PICTURES)


def _columns(recipe: Recipe) -> dict[str, Any]:
    if recipe.seed is None:
        raise ValueError("a finished picture has a seed")
    columns = recipe.to_dict()
    del columns["count"]
    return columns


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
