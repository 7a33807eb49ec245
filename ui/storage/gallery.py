"""The gallery: every finished picture of every owner, files first, then rows."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from ui.recipe import Recipe
from ui.storage.files import PictureFiles
from ui.storage.schema import JOBS, PICTURES

PAGE_SIZE = 24
UNDO_MS = 3_600_000  # deleted pictures can be brought back for an hour
GONE = PICTURES.c.deleted_at.is_not(None)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the gallery. Sizes in pixels, times in milliseconds since 1970."""

    id: str
    owner: str
    created_at: int
    job_id: str | None
    batch_id: str | None
    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    scheduler: str
    model: str
    duration_ms: int
    mime_type: str
    num_bytes: int
    sha256: str
    favourite: bool
    deleted_at: int | None

    @property
    def recipe(self) -> Recipe:
        """What makes this very picture again."""
        return Recipe(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            width=self.width,
            height=self.height,
            steps=self.steps,
            guidance=self.guidance,
            seed=self.seed,
            scheduler=self.scheduler,
            model=self.model,
        )


@dataclass(frozen=True, slots=True)
class Search:
    """Which pictures, and in what order."""

    text: str = ""
    favourites: bool = False
    oldest_first: bool = False


class QuotaFull(OSError):
    """The owner's share of the disk is used up."""


class Gallery:
    """Pictures by owner. Safe to use from any thread."""

    def __init__(self, engine: Engine, files: PictureFiles, quota_bytes: int) -> None:
        self._engine = engine
        self._files = files
        self._quota_bytes = quota_bytes

    def add(
        self,
        owner: str,
        data: bytes,
        recipe: Recipe,
        *,
        mime_type: str = "image/png",
        job_id: str | None = None,
        batch_id: str | None = None,
        duration_ms: int = 0,
    ) -> Picture:
        """Keep one picture: its files first, then its row.

        Raises:
            QuotaFull: the owner's share of the disk is used up.
            OSError: the files could not be written.
            sqlalchemy.exc.SQLAlchemyError: the row could not be written.
        """
        self._check_quota(owner, len(data))
        picture_id = uuid.uuid4().hex
        row = _row(recipe) | {
            "id": picture_id,
            "owner": owner,
            "created_at": _now_ms(),
            "job_id": job_id,
            "batch_id": batch_id,
            "duration_ms": duration_ms,
            "mime_type": mime_type,
            "num_bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "favourite": False,
            "deleted_at": None,
        }
        self._files.write(picture_id, data, mime_type)
        try:
            self._run(PICTURES.insert().values(**row))
        except sa.exc.SQLAlchemyError:
            self._files.remove(picture_id)
            raise
        return Picture(**row)

    def page(self, owner: str, search: Search, number: int, size: int = PAGE_SIZE) -> list[Picture]:
        """One page of pictures, the first being number 1."""
        query = self._ordered(owner, search).limit(size).offset((number - 1) * size)
        return self._pictures(query)

    def count(self, owner: str, search: Search | None = None) -> int:
        """How many pictures a search finds."""
        where = _where(owner, search or Search())
        return int(self._scalar(sa.select(sa.func.count()).select_from(PICTURES).where(*where)))

    def ids(self, owner: str, search: Search, limit: int) -> list[str]:
        """The ids that a search finds, in its order."""
        query = self._ordered(owner, search).with_only_columns(PICTURES.c.id).limit(limit)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def get(self, owner: str, picture_id: str) -> Picture | None:
        """The owner's picture, or None: there is none, or it is someone else's."""
        return next(iter(self.get_many(owner, [picture_id])), None)

    def get_many(self, owner: str, picture_ids: Sequence[str]) -> list[Picture]:
        """Those of the pictures that are the owner's, in the order of the ids."""
        query = _all().where(PICTURES.c.owner == owner, PICTURES.c.id.in_(picture_ids), ~GONE)
        found = {picture.id: picture for picture in self._pictures(query)}
        return [found[i] for i in picture_ids if i in found]

    def of_batch(self, owner: str, batch_id: str) -> dict[int, Picture]:
        """The pictures of a batch by the cell of their job."""
        query = (
            _all()
            .add_columns(JOBS.c.cell)
            .join(JOBS, JOBS.c.id == PICTURES.c.job_id)
            .where(PICTURES.c.owner == owner, PICTURES.c.batch_id == batch_id, ~GONE)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return {row["cell"]: _picture(row) for row in rows}

    def neighbours(
        self, owner: str, picture: Picture, search: Search
    ) -> tuple[str | None, str | None]:
        """The ids before and after a picture, in the order of the search."""
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
        """Mark a picture, or take the mark away."""
        self._run(
            PICTURES.update()
            .where(PICTURES.c.owner == owner, PICTURES.c.id == picture_id)
            .values(favourite=favourite)
        )

    def delete(self, owner: str, picture_ids: Iterable[str]) -> int:
        """Take pictures away; `restore` brings them back within the hour. Returns how many."""
        return self._mark(owner, picture_ids, deleted_at=_now_ms())

    def restore(self, owner: str, picture_ids: Iterable[str]) -> int:
        """Bring deleted pictures back; returns how many."""
        return self._mark(owner, picture_ids, deleted_at=None)

    def purge(self, *, older_than_ms: int = UNDO_MS) -> int:
        """Remove for good what was deleted that long ago; returns how many pictures."""
        return self._remove(PICTURES.c.deleted_at <= _now_ms() - older_than_ms)

    def delete_everything(self, owner: str) -> int:
        """Remove all that is kept of an owner, for good; returns how many pictures."""
        removed = self._remove(PICTURES.c.owner == owner)
        self._run(JOBS.delete().where(JOBS.c.owner == owner))
        return removed

    def bytes_used(self, owner: str) -> int:
        """Bytes of the owner's originals, deleted ones included until they are purged."""
        query = sa.select(sa.func.coalesce(sa.func.sum(PICTURES.c.num_bytes), 0))
        return int(self._scalar(query.where(PICTURES.c.owner == owner)))

    def read(self, picture: Picture) -> bytes:
        """The original file, byte for byte.

        Raises:
            FileNotFoundError: somebody removed it.
        """
        path = self._files.original(picture.id)
        if path is None:
            raise FileNotFoundError(f"the file of picture {picture.id} is gone")
        return path.read_bytes()

    def recover(self) -> int:
        """After a crash: remove half-written files, and files without a row. Returns how many."""
        with self._engine.connect() as connection:
            known = set(connection.execute(sa.select(PICTURES.c.id)).scalars())
        orphans = [i for i in self._files.ids() if i not in known]
        for picture_id in orphans:
            self._files.remove(picture_id)
        return len(orphans) + self._files.remove_drafts()

    def _check_quota(self, owner: str, num_bytes: int) -> None:
        if self.bytes_used(owner) + num_bytes > self._quota_bytes:
            raise QuotaFull(f"your share of {self._quota_bytes / 2**20:,.0f} MB is used up")

    def _ordered(self, owner: str, search: Search) -> sa.Select[Any]:
        columns = (PICTURES.c.created_at, PICTURES.c.id)
        order = [c.asc() if search.oldest_first else c.desc() for c in columns]
        return _all().where(*_where(owner, search)).order_by(*order)

    def _first_id(self, owner: str, search: Search, side: Any, order: list[Any]) -> str | None:
        where = (*_where(owner, search), side)
        query = sa.select(PICTURES.c.id).where(*where).order_by(*order).limit(1)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar()

    def _mark(self, owner: str, picture_ids: Iterable[str], *, deleted_at: int | None) -> int:
        where = (PICTURES.c.owner == owner, PICTURES.c.id.in_(list(picture_ids)))
        return self._run(PICTURES.update().where(*where).values(deleted_at=deleted_at))

    def _remove(self, condition: sa.ColumnElement[bool]) -> int:
        """Rows first: a picture without a row is invisible, a row without a file is a hole."""
        with self._engine.begin() as connection:
            query = sa.select(PICTURES.c.id).where(condition)
            picture_ids = list(connection.execute(query).scalars())
            connection.execute(PICTURES.delete().where(condition))
        for picture_id in picture_ids:
            self._files.remove(picture_id)
        return len(picture_ids)

    def _pictures(self, query: sa.Select[Any]) -> list[Picture]:
        with self._engine.connect() as connection:
            return [_picture(row) for row in connection.execute(query).mappings()]

    def _scalar(self, query: sa.Select[Any]) -> Any:
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def _run(self, statement: Any) -> int:
        with self._engine.begin() as connection:
            return int(connection.execute(statement).rowcount)


def _all() -> sa.Select[Any]:
    return sa.select(PICTURES)


def _where(owner: str, search: Search) -> list[Any]:
    conditions: list[Any] = [PICTURES.c.owner == owner, ~GONE]
    if search.text.strip():
        conditions.append(PICTURES.c.prompt.icontains(search.text.strip(), autoescape=True))
    if search.favourites:
        conditions.append(PICTURES.c.favourite.is_(True))
    return conditions


def _picture(row: Any) -> Picture:
    return Picture(**{column.name: row[column.name] for column in PICTURES.columns})


def _row(recipe: Recipe) -> dict[str, Any]:
    row = recipe.to_dict()
    del row["count"]
    if recipe.seed is None:
        raise ValueError("a finished picture has a seed")
    return row


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
