"""The journal of jobs and batches: their requests and how they ended."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from ui.storage.schema import BATCHES, JOBS

OPEN = "open"
INTERRUPTED = "interrupted"
LEASE_MS = 30_000
KEEP_MS = 30 * 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One job in the journal. Times are milliseconds since 1970."""

    id: str
    owner: str
    batch_id: str | None
    cell: int | None
    state: str
    recipe: dict[str, Any]
    error_code: str
    error_text: str
    created_at: int
    finished_at: int | None


@dataclass(frozen=True, slots=True)
class Batch:
    """A planned grid of pictures."""

    id: str
    owner: str
    created_at: int
    plan: dict[str, Any]


class Journal:
    """Jobs and batches by owner. Thread-safe."""

    def __init__(self, engine: Engine, studio: str = "") -> None:
        """`studio` identifies the data folder, which only one process at a time uses."""
        self._engine = engine
        self._studio = studio
        self._runner = f"{studio}/{uuid.uuid4().hex}"

    def open(
        self,
        job_id: str,
        owner: str,
        recipe: dict[str, Any],
        batch_id: str | None = None,
        cell: int | None = None,
    ) -> None:
        """Record a new job."""
        self._run(
            JOBS.insert().values(
                id=job_id,
                owner=owner,
                recipe=recipe,
                batch_id=batch_id,
                cell=cell,
                state=OPEN,
                runner=self._runner,
                lease_until=_now_ms() + LEASE_MS,
                error_code="",
                error_text="",
                created_at=_now_ms(),
            )
        )

    def close(self, job_id: str, state: str, error_code: str = "", error_text: str = "") -> None:
        """Record how a job ended."""
        self._run(
            JOBS.update()
            .where(JOBS.c.id == job_id)
            .values(
                state=state,
                error_code=error_code,
                error_text=error_text,
                finished_at=_now_ms(),
            )
        )

    def recent(self, owner: str, limit: int = 20) -> list[Entry]:
        """The owner's latest jobs, newest first."""
        query = _entries().where(JOBS.c.owner == owner)
        return self._entries(query.order_by(JOBS.c.created_at.desc()).limit(limit))

    def interrupted(self, owner: str) -> Entry | None:
        """The owner's latest job if it was interrupted by a restart, else None."""
        latest = next(iter(self.recent(owner, limit=1)), None)
        return latest if latest is not None and latest.state == INTERRUPTED else None

    def extend_leases(self) -> None:
        """Extend the leases of this process's jobs; call it more often than every `LEASE_MS`."""
        mine = (JOBS.c.state == OPEN) & (JOBS.c.runner == self._runner)
        self._run(JOBS.update().where(mine).values(lease_until=_now_ms() + LEASE_MS))

    def interrupt_lost_jobs(self) -> int:
        """Close open jobs of processes that have ended; returns the number of jobs.

        These are earlier processes of this studio, and others whose lease has expired.
        """
        lost = JOBS.c.lease_until.is_(None) | (JOBS.c.lease_until < _now_ms())
        if self._studio:
            of_this_studio = JOBS.c.runner.startswith(f"{self._studio}/", autoescape=True)
            lost = lost | (of_this_studio & (JOBS.c.runner != self._runner))
        return self._interrupt(lost)

    def interrupt_own_jobs(self) -> int:
        """At shutdown, close this process's open jobs; returns the number of jobs."""
        return self._interrupt(JOBS.c.runner == self._runner)

    def discard_old(self) -> None:
        """Remove jobs older than a month."""
        self._run(JOBS.delete().where(JOBS.c.created_at < _now_ms() - KEEP_MS))

    def _interrupt(self, condition: sa.ColumnElement[bool]) -> int:
        return self._run(
            JOBS.update()
            .where(JOBS.c.state == OPEN, condition)
            .values(state=INTERRUPTED, finished_at=_now_ms())
        )

    def add_batch(self, owner: str, plan: dict[str, Any]) -> str:
        """Save the plan of a grid; returns its id."""
        batch_id = uuid.uuid4().hex
        values = {"id": batch_id, "owner": owner, "created_at": _now_ms(), "plan": plan}
        self._run(BATCHES.insert().values(**values))
        return batch_id

    def batch(self, owner: str, batch_id: str) -> Batch | None:
        query = sa.select(BATCHES).where(BATCHES.c.owner == owner, BATCHES.c.id == batch_id)
        return next(iter(self._batches(query)), None)

    def batches(self, owner: str, limit: int = 10) -> list[Batch]:
        query = sa.select(BATCHES).where(BATCHES.c.owner == owner)
        return self._batches(query.order_by(BATCHES.c.created_at.desc()).limit(limit))

    def forget(self, owner: str) -> None:
        """Remove everything recorded about an owner."""
        self._run(JOBS.delete().where(JOBS.c.owner == owner))
        self._run(BATCHES.delete().where(BATCHES.c.owner == owner))

    def _entries(self, query: sa.Select[Any]) -> list[Entry]:
        with self._engine.connect() as connection:
            return [Entry(**row) for row in connection.execute(query).mappings()]

    def _batches(self, query: sa.Select[Any]) -> list[Batch]:
        with self._engine.connect() as connection:
            return [Batch(**row) for row in connection.execute(query).mappings()]

    def _run(self, statement: Any) -> int:
        with self._engine.begin() as connection:
            return int(connection.execute(statement).rowcount)


def _entries() -> sa.Select[Any]:
    return sa.select(*(JOBS.c[field.name] for field in fields(Entry)))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
