import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text

from ui.storage import database
from ui.storage.database import DatabaseGone, DatabaseTooNew, alembic_config, migrate, prepare
from ui.storage.files import PictureFiles
from ui.storage.gallery import Gallery, Search
from ui.storage.journal import Journal
from ui.storage.schema import METADATA


def test_the_migrations_make_the_tables_that_the_code_expects(engine: Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_migrating_twice_changes_nothing(engine: Engine) -> None:
    migrate(engine)
    assert set(inspect(engine).get_table_names()) == {*METADATA.tables, "alembic_version"}


def test_sqlite_readers_do_not_wait_for_writers(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'g.db'}")
    prepare(engine)
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == 5000


def test_a_newer_version_s_database_is_left_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseTooNew, match="newer version"):
        prepare(engine)


def test_migrations_are_found_in_a_folder_with_a_percent_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "feature%2Fui" / "migrations"
    shutil.copytree(database.MIGRATIONS, moved)
    monkeypatch.setattr(database, "MIGRATIONS", moved)
    engine = create_engine(f"sqlite:///{tmp_path / 'g.db'}")
    prepare(engine)
    assert set(inspect(engine).get_table_names()) == {*METADATA.tables, "alembic_version"}


def test_a_database_that_was_removed_is_told_and_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    engine = create_engine(f"sqlite:///{path}")
    prepare(engine)
    journal = Journal(engine)
    journal.open("j1", "ada", {})
    path.rename(tmp_path / "aside.db")
    for _try in range(8):  # more often than the pool has connections
        with pytest.raises(DatabaseGone, match="is gone"):
            journal.recent("ada")
    assert not path.exists()
    shutil.copy(tmp_path / "aside.db", path)
    assert [entry.id for entry in journal.recent("ada")] == ["j1"]


FIRST = {
    "id": "a", "owner": "ada", "created_at": 1, "negative_prompt": "", "width": 8, "height": 8,
    "steps": 1, "guidance": 1.0, "seed": 1, "scheduler": "ddim", "model": "m", "duration_ms": 1,
    "mime_type": "image/png", "num_bytes": 1, "sha256": "", "favourite": False,
}  # fmt: skip


def test_a_gallery_of_the_first_version_keeps_its_rows_and_becomes_searchable(
    engine: Engine, files: PictureFiles
) -> None:
    downgrade(engine, "0001")
    add_rows_of_the_first_version(engine, 2500)
    migrate(engine)
    gallery = Gallery(engine, files, 10**9)
    assert gallery.count("ada") == 2500
    assert gallery.count("ada", Search("ÄPFEL 2499")) == 1


def test_a_migration_that_breaks_changes_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    downgrade(engine, "0001")
    add_rows_of_the_first_version(engine, 3)

    def broken(_text: str) -> str:
        raise OSError("the power went out")

    with monkeypatch.context() as patched:
        patched.setattr("ui.storage.picture.fold", broken)
        with pytest.raises(OSError, match="power"):
            migrate(engine)
    columns = {column["name"] for column in inspect(engine).get_columns("pictures")}
    assert "prompt_folded" not in columns
    migrate(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        assert connection.execute(text("SELECT count(*) FROM pictures")).scalar() == 3


def test_studios_that_start_together_migrate_once(engine: Engine) -> None:
    downgrade(engine, "base")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _n: migrate(engine), range(4)))
    assert set(inspect(engine).get_table_names()) == {*METADATA.tables, "alembic_version"}


def downgrade(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def add_rows_of_the_first_version(engine: Engine, count: int) -> None:
    table = sa.Table("pictures", sa.MetaData(), autoload_with=engine)
    rows = [FIRST | {"id": f"a{n}", "prompt": f"Äpfel {n}"} for n in range(count)]
    with engine.begin() as connection:
        connection.execute(table.insert(), rows)
