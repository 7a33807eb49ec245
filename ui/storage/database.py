"""Opens the gallery's database and runs its migrations."""

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
MIGRATION_LOCK = 0x696E6B  # an arbitrary number that no other program uses


class DatabaseGone(sa.exc.SQLAlchemyError):
    """SQLite's file was removed while the studio runs."""


class DatabaseTooNew(sa.exc.SQLAlchemyError):
    """The database was migrated by a newer version."""


def prepare(engine: Engine) -> None:
    """Set up connections and run the outstanding migrations.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database can't be reached or written.
    """
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        engine.dispose()  # earlier connections were opened without this setup
    migrate(engine)
    if engine.dialect.name == "sqlite" and engine.url.database:
        _watch_file(engine, Path(engine.url.database))


def migrate(engine: Engine) -> None:
    """Run the outstanding migrations, all in one transaction, one process at a time.

    Raises:
        DatabaseTooNew: the database has migrations that this version doesn't know.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            # Python's driver starts no transaction for CREATE and ALTER, so could not undo them.
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
    """Alembic's settings, without a config file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _watch_file(engine: Engine, path: Path) -> None:
    """Fail if the file is gone: SQLite would create a new one, or write to the deleted one."""

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
            raise sa.exc.DisconnectionError  # a new file with this name: reconnect to it

    engine.dispose()
    event.listen(engine, "do_connect", before_connecting)
    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", checked_out)


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")  # readers don't wait for a writer
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
