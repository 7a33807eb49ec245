"""Opens the gallery's database and brings its tables up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, event

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MS = 5000
MIGRATION_LOCK = 0x696E6B  # any number that no other program locks


class DatabaseGone(sa.exc.SQLAlchemyError):
    """SQLite's file was removed while the studio runs."""


class DatabaseTooNew(sa.exc.SQLAlchemyError):
    """A newer version has migrated it: this one would not know what it writes."""


def prepare(engine: Engine) -> None:
    """Set up connections and run the migrations that this database has not seen yet.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database can't be reached or written.
    """
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        engine.dispose()  # connections opened before were not set up
    migrate(engine)
    if engine.dialect.name == "sqlite" and engine.url.database:
        _watch_file(engine, Path(engine.url.database))


def migrate(engine: Engine) -> None:
    """Run the outstanding migrations, all in one transaction, one process at a time.

    Raises:
        DatabaseTooNew: the database has seen migrations that this version has not.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            # Python's driver would start none before CREATE and ALTER, and so undo half of them.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        config = alembic_config()
        _check_version(connection, config)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _check_version(connection: sa.Connection, config: Config) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    found = set(MigrationContext.configure(connection).get_current_heads())
    if not found <= known:
        raise DatabaseTooNew("the gallery's database was used by a newer version of the studio")


def alembic_config() -> Config:
    """Alembic's settings, without a file of their own."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _watch_file(engine: Engine, path: Path) -> None:
    """Fail where the file is gone: SQLite would make another, or write into what nobody sees."""

    def identity() -> tuple[int, int]:
        try:
            found = path.stat()
        except OSError:
            raise DatabaseGone(f"the gallery's database is gone: {path}") from None
        return found.st_dev, found.st_ino

    def before_connecting(*_args: Any) -> None:
        identity()

    def connected(_connection: Any, record: Any) -> None:
        record.info["file"] = identity()

    def checked_out(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info["file"] != identity():
            raise sa.exc.DisconnectionError  # another file of this name: connect to that

    engine.dispose()
    event.listen(engine, "do_connect", before_connecting)
    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", checked_out)


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")  # readers never wait for a writer
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
