"""Two studios with data folders of their own can't use one database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from ui.storage import lock
from ui.storage.database_lock import DatabaseInUse, DatabaseLock


@contextmanager
def held(engine: Engine, data_dir: Path) -> Iterator[DatabaseLock]:
    found = DatabaseLock(engine, data_dir)
    try:
        yield found
    finally:
        found.release()


@pytest.fixture
def postgres_engine(migrated_postgres: sa.URL) -> Iterator[Engine]:
    made = sa.create_engine(migrated_postgres.set(database="postgres"))
    yield made
    made.dispose()


def test_a_second_studio_is_refused_by_name_until_the_first_stops(
    postgres_engine: Engine, tmp_path: Path
) -> None:
    other = sa.create_engine(postgres_engine.url)  # another process's
    with held(postgres_engine, tmp_path / "a"):
        with pytest.raises(DatabaseInUse, match=r"in use by studio \d+ on "):
            DatabaseLock(other, tmp_path / "b")
        assert other.pool.checkedout() == 0  # type: ignore[attr-defined]
    with held(other, tmp_path / "b"), other.connect() as connection:
        assert connection.scalar(sa.select(1)) == 1
    other.dispose()


def test_what_broke_is_asked_for_again(postgres_engine: Engine, tmp_path: Path) -> None:
    other = sa.create_engine(postgres_engine.url)
    with held(postgres_engine, tmp_path) as first:
        first.keep()
        end_sessions(other)
        first.keep()
        with pytest.raises(DatabaseInUse):
            DatabaseLock(other, tmp_path)
        end_sessions(other)
        with held(other, tmp_path), pytest.raises(DatabaseInUse):
            first.keep()
    other.dispose()


def end_sessions(engine: Engine) -> None:
    """As PostgreSQL's restart does."""
    with engine.connect() as connection:
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE application_name LIKE 'studio %'"
            )
        )


def test_a_file_outside_the_data_folder_has_a_lock_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shared.db'}")
    neighbour = sa.create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    with held(engine, tmp_path / "a"):
        monkeypatch.setattr(lock, "_held", {})  # as another process sees it
        with pytest.raises(DatabaseInUse, match=r"shared\.db is in use by process \d+ on "):
            DatabaseLock(engine, tmp_path / "b")
        with held(neighbour, tmp_path / "b"):
            pass
        monkeypatch.undo()
    with held(engine, tmp_path / "b"):
        pass


def test_in_the_data_folder_its_own_lock_is_enough(tmp_path: Path) -> None:
    with held(sa.create_engine(f"sqlite:///{tmp_path / 'gallery.db'}"), tmp_path):
        assert [*tmp_path.iterdir()] == []
