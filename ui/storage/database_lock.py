"""Ensures one studio per database: another data folder's studio would miss its pictures' files."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Engine

from ui.storage import lock

LOG = logging.getLogger("inkling.storage")
STUDIO_LOCK = 0x696E6C  # an arbitrary number that no other program uses
HOLDER = sa.text(
    "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid) "
    "WHERE locktype = 'advisory' AND granted AND objid = :number "
    "AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class DatabaseInUse(sa.exc.SQLAlchemyError):
    """Another studio uses the database; the message is one line that names it."""


class DatabaseLock:
    """Held from its creation until `release`, or the process's end.

    PostgreSQL frees it with the connection that asked for it. A file of SQLite outside the data
    folder has a lock beside it; inside, the data folder's lock is enough.

    Raises:
        DatabaseInUse: another studio holds it.
        sqlalchemy.exc.SQLAlchemyError, OSError: the database or the folder can't be used.
    """

    def __init__(self, engine: Engine, data_dir: Path) -> None:
        self._engine = engine
        self._who = f"studio {os.getpid()} on {socket.gethostname()}"
        self._connection: sa.Connection | None = None
        self._file: Path | None = None
        if engine.dialect.name == "postgresql":
            self._connection = self._ask()
        elif engine.url.database:
            self._file = _hold_beside(Path(engine.url.database).resolve(), data_dir.resolve())

    def keep(self) -> None:
        """Ask again if the connection broke; call it every few seconds.

        Raises:
            DatabaseInUse: another studio came first.
        """
        if self._engine.dialect.name != "postgresql":
            return
        try:
            if self._connection is not None:
                self._connection.execute(sa.select(1))
                return
        except sa.exc.DBAPIError:
            self._close()
        self._connection = self._ask()

    def release(self) -> None:
        self._close()
        if self._file is not None:
            lock.release(self._file.parent, self._file.name)

    def _close(self) -> None:
        if self._connection is not None:
            _end(self._connection)
            self._connection = None

    def _ask(self) -> sa.Connection:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            name = sa.func.set_config("application_name", self._who, False)
            connection.execute(sa.select(name))
            if connection.scalar(sa.select(sa.func.pg_try_advisory_lock(STUDIO_LOCK))):
                return connection
            holder = connection.scalar(HOLDER, {"number": STUDIO_LOCK}) or "another studio"
        except BaseException:
            _end(connection)
            raise
        _end(connection)
        raise DatabaseInUse(f"the gallery's database is in use by {holder}: give each its own")


def _end(connection: sa.Connection) -> None:
    """End its session rather than give it back to the pool, with our name and lock."""
    connection.invalidate()
    connection.close()


def _hold_beside(database: Path, data_dir: Path) -> Path | None:
    if database.is_relative_to(data_dir):
        return None
    try:
        lock.hold(database.parent, database.name)
    except lock.FolderInUse as error:
        raise DatabaseInUse(f"the gallery's database {error}: give each its own") from None
    return database
