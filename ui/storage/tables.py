"""Reads and writes all rows of the gallery's database, of either kind."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from ui.storage.database import prepare
from ui.storage.parts import parts
from ui.storage.schema import METADATA

Rows = dict[str, list[dict[str, Any]]]


class StorageError(Exception):
    """A command can't be carried out; the message is one line that says what to do."""


def open_database(url: str, *, make: bool) -> Engine:
    """Connect and run the migrations.

    Raises:
        StorageError: the database does not exist, and `make` is False.
        sqlalchemy.exc.SQLAlchemyError: it can't be reached or written.
    """
    engine = sa.create_engine(url)
    path = engine.url.database if engine.dialect.name == "sqlite" else None
    if path and not make and not Path(path).is_file():
        raise StorageError(f"there is no database at {path}; `reimport` makes one from pictures")
    prepare(engine)
    return engine


def read_rows(engine: Engine) -> Rows:
    """A consistent snapshot of all tables' rows, ordered by primary key."""
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    rows: Rows = {}
    with engine.begin() as connection:
        for table in METADATA.sorted_tables:
            query = sa.select(table).order_by(*table.primary_key)
            rows[table.name] = [dict(row) for row in connection.execute(query).mappings()]
    return rows


def check_empty(engine: Engine) -> None:
    """Raises:
    StorageError: the database holds rows already.
    """
    with engine.connect() as connection:
        for table in METADATA.sorted_tables:
            if connection.execute(sa.select(table).limit(1)).first() is not None:
                raise StorageError("the database holds rows already: name an empty one")


def write_rows(engine: Engine, rows: Rows) -> None:
    """Fill an empty database in one transaction.

    Raises:
        StorageError: it already has rows, or can't store one of these.
    """
    check_empty(engine)
    try:
        with engine.begin() as connection:
            for table in METADATA.sorted_tables:
                for part in parts(rows.get(table.name, [])):
                    connection.execute(table.insert(), part)
    except (sa.exc.StatementError, ValueError) as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StorageError(f"the database can't hold these rows: {cause}") from error


def to_lines(rows: Iterable[dict[str, Any]]) -> bytes:
    """One JSON object per line."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def from_lines(table: str, lines: bytes) -> list[dict[str, Any]]:
    """The inverse of `to_lines` for a table.

    Raises:
        StorageError: these are not rows of the table.
    """
    columns = set(METADATA.tables[table].columns.keys())
    try:
        rows = [json.loads(line) for line in lines.splitlines()]
        if all(set(row) <= columns for row in rows):
            return rows
    except (ValueError, TypeError) as error:
        raise StorageError(f"the rows of {table} can't be read: {error}") from error
    raise StorageError(f"the rows of {table} are of a newer version of the studio")
