"""`python -m ui.storage` on real pictures, with both kinds of database."""

import io
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sqlalchemy import Engine

from tests.ui.conftest import png
from tests.ui.storage.test_lock import ROOT, holder
from ui.recipe import Recipe
from ui.storage.__main__ import main
from ui.storage.database import prepare
from ui.storage.files import PictureFiles
from ui.storage.gallery import Gallery, Picture, Search
from ui.storage.journal import Journal
from ui.storage.quarantine import Quarantine
from ui.storage.recovery import recover
from ui.storage.schema import PICTURES

INFOTEXT = "a red car\nNegative prompt: rain\nSteps: 12, Sampler: DDIM, CFG scale: 4, Seed: 42"

Contents = dict[str, tuple[Picture, bytes]]


@pytest.fixture
def database(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The installation that the commands work on."""
    monkeypatch.setenv("TEXT2IMAGE_DATA_DIR", str(tmp_path))
    url = engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("TEXT2IMAGE_DATABASE_URL", url)
    (tmp_path / "secret").write_bytes(b"s" * 32)
    return engine


@pytest.fixture
def pictures(database: Engine, gallery: Gallery, journal: Journal) -> Contents:
    """Of every format, with every kind of value; one deleted, one of a batch."""
    batch = journal.add_batch("ada", {"x": [1, "ü"]})
    journal.open("j1", "ada", {"prompt": "p"}, batch, 0)
    journal.close("j1", "done")
    for number, kind in enumerate(("PNG", "JPEG", "WEBP", "PNG")):
        recipe = Recipe(f"Äpfel {number} 🐈\n", "no\tdogs", 64, 64, 20, 7.25, 2**53 + number)
        gallery.add("ada", encoded(kind, number), recipe, job_id="j1", batch_id=batch)
    eve = gallery.add("eve", png("white"), Recipe("white", seed=1))
    gallery.set_favourite("eve", eve.id, True)
    gone = gallery.add("eve", png("pink"), Recipe("pink", seed=2))
    gallery.delete("eve", [gone.id])
    return contents(gallery)


def encoded(kind: str, number: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64 + number, 48), 90).convert("RGB").save(file, kind)
    return file.getvalue()


def contents(gallery: Gallery) -> Contents:
    found = [p for owner in ("ada", "eve") for p in gallery.page(owner, Search(), 1)]
    return {picture.id: (picture, gallery.read(picture)) for picture in found}


def gallery_at(folder: Path, url: str) -> Gallery:
    engine = sa.create_engine(url)
    prepare(engine)
    files = PictureFiles(folder / "pictures")
    files.prepare()
    return Gallery(engine, files, 10**9)


def empty(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in ("pictures", "jobs", "batches"):
            connection.execute(sa.text(f"DELETE FROM {table}"))


def test_a_backup_restores_everything_into_another_kind_of_database(
    database: Engine, pictures: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["backup", str(tmp_path / "b.tar")]) == 0
    new = tmp_path / "new"
    url = f"sqlite:///{new / 'gallery.db'}"
    monkeypatch.setenv("TEXT2IMAGE_DATA_DIR", str(new))
    monkeypatch.setenv("TEXT2IMAGE_DATABASE_URL", url)
    assert main(["restore", str(tmp_path / "b.tar")]) == 0
    restored = gallery_at(new, url)
    assert contents(restored) == pictures
    assert restored.count("ada", Search("ÄPFEL")) == 4
    assert restored.restore("eve", deleted_ids(database)) == 1
    journal = Journal(sa.create_engine(url))
    assert journal.recent("ada")[0].state == "done"
    assert journal.batches("ada")[0].plan == {"x": [1, "ü"]}
    assert (new / "secret").read_bytes() == b"s" * 32
    assert (new / "secret").stat().st_mode & 0o777 == 0o600
    assert main(["verify"]) == 0
    assert [path.name for path in new.iterdir() if path.name.startswith(".")] == []


def deleted_ids(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        query = sa.select(PICTURES.c.id).where(PICTURES.c.deleted_at.is_not(None))
        return list(connection.execute(query).scalars())


def test_a_gallery_in_sqlite_moves_to_postgresql_and_back(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    first, second = (f"sqlite:///{tmp_path / name}" for name in ("one.db", "two.db"))
    gallery = gallery_at(tmp_path, first)
    for number, kind in enumerate(("PNG", "JPEG", "WEBP")):
        recipe = Recipe(f"Äpfel {number}", seed=2**53 + number, width=64, height=48)
        gallery.add("ada", encoded(kind, number), recipe)
    Journal(sa.create_engine(first)).add_batch("ada", {"x": [1]})
    before = contents(gallery)
    monkeypatch.setenv("TEXT2IMAGE_DATA_DIR", str(tmp_path))
    target = sa.create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        for source, url in ((first, postgres_url), (postgres_url, second)):
            monkeypatch.setenv("TEXT2IMAGE_DATABASE_URL", source)
            assert main(["move", url]) == 0
            assert "3 pictures' rows are copied" in capsys.readouterr().out
            monkeypatch.setenv("TEXT2IMAGE_DATABASE_URL", url)
            assert main(["verify"]) == 0
        assert main(["move", postgres_url]) == 2  # it holds rows by now
        assert "holds rows already" in capsys.readouterr().err
        moved = gallery_at(tmp_path, str(target.url.render_as_string(hide_password=False)))
        assert contents(moved) == contents(gallery_at(tmp_path, second)) == before
        assert moved.count("ada", Search("ÄPFEL")) == 3
        files = PictureFiles(tmp_path / "pictures")
        assert recover(target, files, Quarantine(tmp_path)).sentences() == []
    finally:
        with target.begin() as connection:
            connection.execute(sa.text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
        target.dispose()


Damage = Callable[[PictureFiles, Engine, Picture], None]


def lose_file(files: PictureFiles, _engine: Engine, picture: Picture) -> None:
    for path in files.all_of(picture.id):
        path.unlink()


def lose_row(_files: PictureFiles, engine: Engine, picture: Picture) -> None:
    with engine.begin() as connection:
        connection.execute(PICTURES.delete().where(PICTURES.c.id == picture.id))


def flip_a_bit(files: PictureFiles, _engine: Engine, picture: Picture) -> None:
    path = files.original(picture.id)
    assert path is not None
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def lose_thumbnail(files: PictureFiles, _engine: Engine, picture: Picture) -> None:
    path = files.thumbnail(picture.id)
    assert path is not None
    path.unlink()


def swap_note(files: PictureFiles, _engine: Engine, picture: Picture) -> None:
    files.write_note(picture.id, replace(picture, owner="eve").note())


def mark_file_alone(files: PictureFiles, _engine: Engine, picture: Picture) -> None:
    files.mark_deleted(picture.id)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lose_file, "has a row and no file"),
        (lose_row, "has a file and no row"),
        (flip_a_bit, "not what was kept"),
        (lose_thumbnail, "no thumbnail"),
        (swap_note, "another picture's"),
        (mark_file_alone, "by its file or its row alone"),
    ],
)
def test_verify_finds_every_kind_of_damage_and_changes_nothing(
    database: Engine, pictures: Contents, files: PictureFiles,
    capsys: pytest.CaptureFixture[str], damage: Damage, words: str,
) -> None:  # fmt: skip
    assert main(["verify"]) == 0
    picture = next(picture for picture, _data in pictures.values())
    damage(files, database, picture)
    before = {path: path.read_bytes() for path in files.folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(["verify"]) == 1
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2
    assert told[0].startswith(picture.id)
    assert words in told[0]
    assert {p: p.read_bytes() for p in files.folder.rglob("*") if p.is_file()} == before


def test_a_backup_tells_what_is_damaged(
    database: Engine, pictures: Contents, files: PictureFiles, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    first, second = (picture for picture, _data in list(pictures.values())[:2])
    flip_a_bit(files, database, first)
    lose_file(files, database, second)
    assert main(["backup", str(tmp_path / "b.tar")]) == 1
    told = capsys.readouterr().out
    assert f"{first.id}: its file is not what was kept" in told
    assert f"{second.id}: has lost its file" in told


def test_reimport_makes_a_lost_database_again(
    database: Engine, pictures: Contents, gallery: Gallery, capsys: pytest.CaptureFixture[str]
) -> None:
    empty(database)
    assert main(["reimport"]) == 0
    assert "5 from notes" in capsys.readouterr().out
    assert contents(gallery) == pictures
    assert main(["reimport"]) == 0
    assert contents(gallery) == pictures


def test_reimport_reads_pictures_own_metadata(
    database: Engine, gallery: Gallery, files: PictureFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    info = PngInfo()
    info.add_text("parameters", INFOTEXT)
    file = io.BytesIO()
    Image.new("RGB", (96, 64), "red").save(file, "PNG", pnginfo=info)
    for name, data in (("told", file.getvalue()), ("mute", png()), ("broken", b"no picture")):
        files.write("x" + name, png(), "image/png", b"")
        path = files.original("x" + name)
        assert path is not None
        path.write_bytes(data)
    assert main(["reimport"]) == 2
    assert "name an owner with --owner" in capsys.readouterr().err
    assert gallery.count("ada") == 0
    assert main(["reimport", "--owner", "ada"]) == 0
    told = capsys.readouterr().out
    assert "1 from metadata, 1 unreadable, 1 without settings" in told
    found = gallery.get("ada", "xtold")
    assert found is not None
    assert found.recipe == Recipe("a red car", "rain", 96, 64, 12, 4.0, 42, "ddim")
    assert gallery.read(found) == file.getvalue()
    assert gallery.get("ada", "xmute") is not None
    path = files.original("xbroken")
    assert path is not None
    assert path.read_bytes() == b"no picture"


def test_reimport_brings_pictures_back_from_quarantine(
    database: Engine, pictures: Contents, gallery: Gallery, files: PictureFiles, tmp_path: Path
) -> None:
    with database.begin() as connection:
        hidden = next(iter(pictures))
        denied = PICTURES.update().where(PICTURES.c.id == hidden).values(deleted_at=1)
        connection.execute(denied)
    past = time.time() - 7200
    for path in files.folder.rglob("*"):
        os.utime(path, (past, past))
    assert recover(database, files, Quarantine(tmp_path)).quarantined == 1
    assert hidden not in contents(gallery)
    assert main(["reimport"]) == 0
    assert contents(gallery) == pictures
    assert Quarantine(tmp_path).files() == []
    assert recover(database, files, Quarantine(tmp_path)).quarantined == 0


@pytest.mark.parametrize("command", [["restore", "b.tar"], ["reimport"], ["move", "sqlite:///x"]])
def test_what_changes_things_waits_until_the_studio_has_stopped(
    database: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    with holder(tmp_path):
        assert main(command) == 2
    assert "is in use by process" in capsys.readouterr().err


def test_restore_overwrites_nothing(
    database: Engine, pictures: Contents, gallery: Gallery, files: PictureFiles, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    backup = tmp_path / "b.tar"
    assert main(["backup", str(backup)]) == 0
    assert main(["backup", str(backup)]) == 2
    assert main(["restore", str(backup)]) == 2
    assert "holds files already" in capsys.readouterr().err
    files.folder.rename(tmp_path / "aside")
    assert main(["restore", str(backup)]) == 2
    assert "holds rows already" in capsys.readouterr().err
    empty(database)
    assert main(["restore", str(backup)]) == 0
    assert contents(gallery) == pictures


def test_a_cut_or_foreign_backup_restores_nothing(
    database: Engine, pictures: Contents, files: PictureFiles, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    whole = tmp_path / "b.tar"
    assert main(["backup", str(whole)]) == 0
    empty(database)
    files.folder.rename(tmp_path / "aside")
    data = whole.read_bytes()
    bad = tmp_path / "bad.tar"
    for content in (data[: len(data) // 2], data[:700], b"", b"no tar", climbing("../../x")):
        bad.write_bytes(content)
        assert main(["restore", str(bad)]) == 2, content[:20]
        assert "backup" in capsys.readouterr().err
    assert not files.folder.exists()
    assert not (tmp_path.parent / "x").exists()
    assert main(["restore", str(whole)]) == 0


def climbing(name: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    return file.getvalue()


def test_without_a_database_nothing_is_made_by_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEXT2IMAGE_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("TEXT2IMAGE_DATABASE_URL", raising=False)
    for command in (["verify"], ["backup", str(tmp_path / "b.tar")]):
        assert main(command) == 2
        assert "there is no database" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_it_runs_as_a_module_and_says_what_it_can() -> None:
    command = [sys.executable, "-m", "ui.storage", "--help"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in ("backup", "restore", "verify", "reimport", "move"):
        assert name in told
