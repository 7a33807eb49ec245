"""Files and rows that do not agree: whatever the database says, no picture is lost."""

import json
import logging
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.ui.conftest import png
from ui.recipe import Recipe
from ui.storage import files as files_module
from ui.storage.files import PictureFiles
from ui.storage.gallery import UNDO_MS, Gallery, Picture, Search, now_ms
from ui.storage.quarantine import REASON_FILE, Quarantine
from ui.storage.recovery import Recovery, recover
from ui.storage.schema import PICTURES

COLOURS = ("red", "green", "blue", "white", "black")


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(tmp_path)


@pytest.fixture
def pictures(gallery: Gallery, files: PictureFiles) -> list[Picture]:
    """Five pictures of two owners, two hours old."""
    kept = [
        gallery.add(owner, png(colour), Recipe(f"a {colour} cat", seed=seed, model="m"))
        for seed, (colour, owner) in enumerate(zip(COLOURS, "aabbb", strict=True))
    ]
    age(files)
    return kept


def age(files: PictureFiles) -> None:
    past = time.time() - 7200
    for path in files.folder.rglob("*"):
        os.utime(path, (past, past))


def forget_rows(engine: Engine, *ids: str) -> None:
    """As an older backup would."""
    with engine.begin() as connection:
        for picture_id in ids:
            connection.execute(PICTURES.delete().where(PICTURES.c.id == picture_id))


def remove_notes(files: PictureFiles) -> None:
    """As pictures are that were kept before there were notes."""
    for path in files.folder.rglob("*.json"):
        path.unlink()


def contents(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.rglob("*.png*"))


def test_a_lost_database_is_made_again_from_the_notes(
    engine: Engine,
    files: PictureFiles,
    gallery: Gallery,
    quarantine: Quarantine,
    pictures: list[Picture],
) -> None:
    forget_rows(engine, *(picture.id for picture in pictures))
    found = recover(engine, files, quarantine)
    assert found == Recovery(originals=5, adopted=5)
    for picture in pictures:
        assert gallery.get(picture.owner, picture.id) == picture
        assert gallery.count(picture.owner, Search(picture.prompt.upper())) == 1
    assert quarantine.files() == []


def test_without_notes_an_empty_database_touches_nothing(
    engine: Engine, files: PictureFiles, quarantine: Quarantine, pictures: list[Picture]
) -> None:
    remove_notes(files)
    before = contents(files.folder)
    forget_rows(engine, *(picture.id for picture in pictures))
    found = recover(engine, files, quarantine)
    assert (found.left, found.quarantined, found.adopted) == (5, 0, 0)
    assert contents(files.folder) == before
    assert "left alone" in found.sentences()[0]


def test_a_few_pictures_without_row_and_note_are_set_aside_with_the_reason(
    engine: Engine,
    files: PictureFiles,
    quarantine: Quarantine,
    pictures: list[Picture],
    caplog: pytest.LogCaptureFixture,
) -> None:
    remove_notes(files)
    forget_rows(engine, pictures[0].id, pictures[3].id)
    with caplog.at_level(logging.WARNING):
        found = recover(engine, files, quarantine)
    assert (found.quarantined, found.left) == (2, 0)
    assert contents(quarantine.folder) == sorted([png("red"), png("white")])
    assert len(contents(files.folder)) == 3
    reasons = list(quarantine.folder.rglob(REASON_FILE))
    why = json.loads(reasons[0].read_text("utf-8"))
    assert len(reasons) == 1
    assert "no row" in why["reason"]
    assert len(why["files"]) == 4  # each with its thumbnail
    for name in why["files"]:
        assert (reasons[0].parent / name).is_file()
    assert str(quarantine.folder) in caplog.text


def test_exactly_half_is_set_aside_and_one_more_is_not(
    engine: Engine, files: PictureFiles, quarantine: Quarantine, pictures: list[Picture]
) -> None:
    remove_notes(files)
    forget_rows(engine, *(picture.id for picture in pictures[:3]))
    assert recover(engine, files, quarantine).left == 3
    for path in files.all_of(pictures[0].id):
        path.unlink()
    assert recover(engine, files, quarantine).quarantined == 2


def test_a_young_picture_waits_for_its_row(
    engine: Engine, files: PictureFiles, quarantine: Quarantine, pictures: list[Picture]
) -> None:
    files.write("young", png("pink"), "image/png", b"")
    assert recover(engine, files, quarantine) == Recovery(originals=6)
    assert files.original("young") is not None


def test_rows_that_call_everything_deleted_delete_nothing(
    engine: Engine,
    files: PictureFiles,
    gallery: Gallery,
    quarantine: Quarantine,
    pictures: list[Picture],
) -> None:
    before = contents(files.folder)
    with engine.begin() as connection:
        connection.execute(PICTURES.update().values(deleted_at=1))
    assert gallery.purge() == 0
    assert recover(engine, files, quarantine).left == 5
    assert contents(files.folder) == before


def test_a_row_that_alone_calls_its_picture_deleted_goes_to_quarantine_with_it(
    engine: Engine,
    files: PictureFiles,
    gallery: Gallery,
    quarantine: Quarantine,
    pictures: list[Picture],
) -> None:
    with engine.begin() as connection:
        one = PICTURES.c.id == pictures[0].id
        connection.execute(PICTURES.update().where(one).values(deleted_at=1))
    assert gallery.purge() == 0
    assert recover(engine, files, quarantine).quarantined == 1
    assert contents(quarantine.folder) == [png("red")]
    notes = [p for p in quarantine.files() if p.suffix == ".json"]
    assert [Picture.from_note(p.read_bytes()).prompt for p in notes] == ["a red cat"]
    assert gallery.restore("a", [pictures[0].id]) == 0
    assert gallery.count("a") == 1


def test_what_its_owner_deleted_stays_deleted_under_another_database(
    engine: Engine,
    files: PictureFiles,
    gallery: Gallery,
    quarantine: Quarantine,
    pictures: list[Picture],
) -> None:
    gallery.delete("a", [pictures[0].id])
    forget_rows(engine, *(picture.id for picture in pictures))
    assert recover(engine, files, quarantine).adopted == 4
    assert gallery.count("a") == 1
    assert files.all_of(pictures[0].id) != []  # for the hour in which Undo works
    age(files)
    recover(engine, files, quarantine)
    assert files.all_of(pictures[0].id) == []


def test_a_deletion_that_was_cut_off_after_the_file_is_taken_back(
    engine: Engine, files: PictureFiles, gallery: Gallery, quarantine: Quarantine,
    pictures: list[Picture],
) -> None:  # fmt: skip
    files.mark_deleted(pictures[0].id)
    assert recover(engine, files, quarantine).brought_back == 1
    assert gallery.read(pictures[0]) == png("red")


def test_a_row_without_a_file_is_told_and_kept(
    engine: Engine, files: PictureFiles, gallery: Gallery, quarantine: Quarantine,
    pictures: list[Picture],
) -> None:  # fmt: skip
    path = files.original(pictures[0].id)
    assert path is not None
    path.unlink()
    found = recover(engine, files, quarantine)
    assert found.missing == 1
    assert "lost their file: 1" in found.sentences()[0]
    assert files.thumbnail(pictures[0].id) is not None  # all that is left of it
    assert gallery.get("a", pictures[0].id) == pictures[0]


def test_older_pictures_get_their_notes_at_the_start(
    engine: Engine, files: PictureFiles, quarantine: Quarantine, pictures: list[Picture]
) -> None:
    remove_notes(files)
    assert recover(engine, files, quarantine) == Recovery(originals=5)
    forget_rows(engine, *(picture.id for picture in pictures))
    assert recover(engine, files, quarantine).adopted == 5


@pytest.mark.parametrize(
    "note",
    [
        b"", b"{", b"[]", b"null", b"\xff", b'{"id": 1}', b"9" * 5000,
        pytest.param("other", id="another picture's"),
    ],
)  # fmt: skip
def test_a_note_that_cannot_be_read_is_none(
    engine: Engine,
    files: PictureFiles,
    quarantine: Quarantine,
    pictures: list[Picture],
    note: bytes | str,
) -> None:
    other = replace(pictures[1], seed=99).note()
    files.write_note(pictures[0].id, other if isinstance(note, str) else note)
    forget_rows(engine, pictures[0].id)
    assert recover(engine, files, quarantine).quarantined == 1
    assert contents(quarantine.folder) == [png("red")]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 10**30}, {"seed": "7"}, {"seed": 7.5}, {"owner": "o" * 81}, {"owner": None},
        {"prompt": "nul\0"}, {"favourite": 1}, {"guidance": "7"},
        {"duration_ms": 2**40}, {"unknown": 1},
    ],
)  # fmt: skip
def test_a_note_that_no_row_can_hold_is_none(
    pictures: list[Picture], change: dict[str, object]
) -> None:
    values = json.loads(pictures[0].note())
    with pytest.raises(ValueError, match="not a picture's note"):
        Picture.from_note(json.dumps(values | change).encode())


def test_a_quarantine_that_cannot_be_written_leaves_the_files(
    engine: Engine, files: PictureFiles, quarantine: Quarantine, pictures: list[Picture],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    quarantine.folder.write_text("a file stands where the folder should", encoding="utf-8")
    remove_notes(files)
    forget_rows(engine, pictures[0].id)
    before = contents(files.folder)
    recover(engine, files, quarantine)
    assert contents(files.folder) == before
    assert "quarantine fails" in caplog.text


def test_a_thousand_lost_rows_are_back_within_seconds(
    engine: Engine, files: PictureFiles, gallery: Gallery, quarantine: Quarantine
) -> None:
    sample = gallery.add("a", png(), Recipe("many", seed=1))
    for number in range(1000):
        picture = replace(sample, id=f"{number:032x}")
        folder = files.folder / picture.id[:2]
        folder.mkdir(exist_ok=True)
        (folder / f"{picture.id}.png").write_bytes(png())
        (folder / f"{picture.id}.json").write_bytes(picture.note())
    age(files)
    started = time.process_time()
    assert recover(engine, files, quarantine).adopted == 1000
    assert time.process_time() - started < 5
    assert gallery.count("a") == 1001


def test_a_purge_of_what_was_deleted_long_ago_leaves_nothing(
    engine: Engine, files: PictureFiles, gallery: Gallery, quarantine: Quarantine,
    pictures: list[Picture], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    gallery.delete("a", [picture.id for picture in pictures])
    monkeypatch.setattr("ui.storage.gallery.now_ms", lambda: now_ms() + UNDO_MS + 1)
    assert gallery.purge() == 2
    monkeypatch.setattr(files_module, "FORGOTTEN_AFTER_S", -1.0)
    assert recover(engine, files, quarantine) == Recovery(originals=3)
    assert len(contents(files.folder)) == 3
