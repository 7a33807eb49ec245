import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from tests.ui.conftest import png
from ui.recipe import Recipe
from ui.storage.files import PictureFiles
from ui.storage.gallery import Gallery, Picture, Search
from ui.storage.journal import Journal
from ui.storage.picture import Unkeepable
from ui.storage.quota import QuotaFull
from ui.storage.schema import PICTURES


def add(gallery: Gallery, prompt: str, owner: str = "ada", seed: int = 7) -> Picture:
    return gallery.add(owner, png(), Recipe(prompt=prompt, seed=seed, scheduler="ddim", model="m"))


def test_a_picture_is_found_as_it_was_kept(gallery: Gallery) -> None:
    recipe = Recipe("a “cat” 🐈", "dogs", 64, 72, 20, 3.5, 2**53 - 1, "ddim", "m")
    kept = gallery.add("ada", png(), recipe, job_id="j", duration_ms=5)
    assert gallery.get("ada", kept.id) == kept
    assert kept.recipe == recipe
    assert gallery.read(kept) == png()


def test_owners_see_their_own_pictures_alone(gallery: Gallery) -> None:
    mine = add(gallery, "mine")
    assert gallery.get("eve", mine.id) is None
    assert gallery.count("eve") == 0
    assert gallery.delete("eve", [mine.id]) == 0
    gallery.set_favourite("eve", mine.id, True)
    found = gallery.get("ada", mine.id)
    assert found is not None
    assert not found.favourite


def test_pages_go_from_the_newest_to_the_oldest(gallery: Gallery) -> None:
    kept = [add(gallery, f"p{number}").id for number in range(5)]
    pages = [gallery.page("ada", Search(), number, 2) for number in (1, 2, 3)]
    found = [picture.id for page in pages for picture in page]
    assert sorted(found) == sorted(kept)
    assert found == gallery.ids("ada", Search(), 99)
    assert gallery.ids("ada", Search(oldest_first=True), 99) == found[::-1]


@pytest.mark.parametrize(
    ("text", "found"), [("CAT", 1), ("cat", 1), ("%", 1), ("_", 0), ("'", 0), ("  ", 3), ("dog", 0)]
)
def test_search_takes_words_literally(gallery: Gallery, text: str, found: int) -> None:
    for prompt in ("a cat", "100% wool", "a red apple"):
        add(gallery, prompt)
    assert gallery.count("ada", Search(text)) == found


def test_favourites_can_be_searched_for(gallery: Gallery) -> None:
    first, _second = add(gallery, "one"), add(gallery, "two")
    gallery.set_favourite("ada", first.id, True)
    assert [p.id for p in gallery.page("ada", Search(favourites=True), 1)] == [first.id]


def test_neighbours_cross_pages_and_end_at_the_ends(gallery: Gallery) -> None:
    for number in range(4):
        add(gallery, f"p{number}")
    pictures = gallery.page("ada", Search(), 1, 10)
    ids = [None, *(picture.id for picture in pictures), None]
    for place, picture in enumerate(pictures, start=1):
        assert gallery.neighbours("ada", picture, Search()) == (ids[place - 1], ids[place + 1])
        swapped = gallery.neighbours("ada", picture, Search(oldest_first=True))
        assert swapped == (ids[place + 1], ids[place - 1])


def test_a_deleted_picture_comes_back_until_it_is_purged(gallery: Gallery) -> None:
    kept = add(gallery, "oops")
    assert gallery.delete("ada", [kept.id]) == 1
    assert gallery.get("ada", kept.id) is None
    assert gallery.purge() == 0
    assert gallery.restore("ada", [kept.id]) == 1
    assert gallery.read(kept) == png()
    gallery.delete("ada", [kept.id])
    assert gallery.purge(older_than_ms=0) == 1
    assert gallery.restore("ada", [kept.id]) == 0
    with pytest.raises(FileNotFoundError):
        gallery.read(kept)


def test_everything_of_an_owner_can_be_deleted_and_of_nobody_else(gallery: Gallery) -> None:
    add(gallery, "mine")
    other = add(gallery, "yours", owner="eve")
    assert gallery.delete_everything("ada") == 1
    assert gallery.count("ada") == 0
    assert gallery.read(other) == png()


def test_a_full_share_is_refused_before_anything_is_written(
    engine: Engine, files: PictureFiles, tmp_path: Path
) -> None:
    small = Gallery(engine, files, quota_bytes=len(png()))
    add(small, "fits")
    with pytest.raises(QuotaFull):
        add(small, "too much")
    add(small, "another's share", owner="eve")
    assert len(list((tmp_path / "pictures").glob("*/*.png"))) == 2


def test_a_row_that_fails_leaves_the_picture_for_another_try(
    gallery: Gallery, engine: Engine, files: PictureFiles
) -> None:
    PICTURES.drop(engine)
    recipe = Recipe("late", seed=1)
    with pytest.raises(SQLAlchemyError):
        gallery.add("ada", png(), recipe, picture_id="late")
    assert files.original("late") is not None
    PICTURES.create(engine)
    kept = gallery.add("ada", png(), recipe, picture_id="late")
    assert gallery.page("ada", Search(), 1) == [kept]


def test_an_answer_that_was_lost_is_no_failure(gallery: Gallery) -> None:
    recipe = Recipe("twice", seed=1)
    for _try in range(2):
        gallery.add("ada", png(), recipe, picture_id="same")
    assert gallery.count("ada") == 1


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("x", seed=10**30),
        Recipe("x", seed=-1),
        Recipe("x", seed=1, steps=10**30),
        Recipe("x", seed=1, width=2**31),
        Recipe("x", seed=1, guidance=float("nan")),
        Recipe("x" * 900_000, seed=1),
        Recipe("x", "y" * 900_000, seed=1),
        Recipe("nul \0 byte", seed=1),
        Recipe("half a \ud83d character", seed=1),
        Recipe("x", seed=1, model="m" * 201),
        Recipe("x", seed=1, scheduler="s" * 41),
    ],
)
def test_what_a_database_cannot_hold_is_refused_before_anything_is_written(
    gallery: Gallery, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(Unkeepable):
        gallery.add("ada", png(), recipe)
    assert gallery.count("ada") == 0
    assert not [path for path in (tmp_path / "pictures").rglob("*") if path.is_file()]


def test_the_largest_values_are_kept(gallery: Gallery) -> None:
    recipe = Recipe(
        "x" * 20_000, "", 2**31 - 1, 8, 2**31 - 1, 1e300, 2**63 - 1, "s" * 40, "m" * 200
    )
    kept = gallery.add("ada", png(), recipe)
    found = gallery.get("ada", kept.id)
    assert found is not None
    assert found.recipe == recipe


def test_twelve_at_once_share_one_quota(engine: Engine, files: PictureFiles) -> None:
    small = Gallery(engine, files, quota_bytes=len(png()) * 3 // 2)
    outcomes: list[str] = []

    def keep() -> None:
        try:
            add(small, "one of many")
            outcomes.append("kept")
        except QuotaFull:
            outcomes.append("refused")

    threads = [threading.Thread(target=keep) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["kept"] + ["refused"] * 11
    assert small.count("ada") == len(list(files.originals())) == 1


def test_deleted_pictures_make_room_when_room_is_needed(
    engine: Engine, files: PictureFiles
) -> None:
    small = Gallery(engine, files, quota_bytes=len(png()))
    first = add(small, "first")
    small.delete("ada", [first.id])
    assert small.restore("ada", [first.id]) == 1
    small.delete("ada", [first.id])
    second = add(small, "second")
    assert [picture.id for picture in small.page("ada", Search(), 1)] == [second.id]
    assert small.restore("ada", [first.id]) == 0
    assert [original.id for original in files.originals()] == [second.id]


def test_a_deleted_picture_s_file_is_no_longer_served(
    gallery: Gallery, files: PictureFiles
) -> None:
    kept = add(gallery, "oops")
    gallery.delete("ada", [kept.id])
    assert files.original(kept.id) is None
    gallery.restore("ada", [kept.id])
    assert files.original(kept.id) is not None


def test_a_file_that_cannot_be_marked_outlives_the_purge(
    gallery: Gallery, files: PictureFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = add(gallery, "read-only disk")
    monkeypatch.setattr(files, "mark_deleted", lambda _id: None)
    gallery.delete("ada", [kept.id])
    assert gallery.purge(older_than_ms=0) == 0
    assert gallery.restore("ada", [kept.id]) == 1
    assert gallery.read(kept) == png()


def test_a_favourite_is_noted_beside_its_file(gallery: Gallery, files: PictureFiles) -> None:
    kept = add(gallery, "dear")
    gallery.set_favourite("ada", kept.id, True)
    note = files.note(kept.id)
    assert note is not None
    assert Picture.from_note(note) == replace(kept, favourite=True)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("Красное яблоко", "красное"),
        ("красное яблоко", "ЯБЛОКО"),
        ("Äpfel", "äpfel"),
        ("A\u0308pfel", "äpfel"),
        ("Straße", "STRASSE"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("ｃａｔ", "cat"),
    ],
)
def test_search_knows_the_letters_of_other_languages(
    gallery: Gallery, prompt: str, text: str
) -> None:
    add(gallery, prompt)
    add(gallery, "something else")
    found = gallery.page("ada", Search(text), 1)
    assert [picture.prompt for picture in found] == [prompt]


def test_a_batch_s_pictures_are_found_by_their_cells(gallery: Gallery, journal: Journal) -> None:
    batch = journal.add_batch("ada", {})
    for cell in (0, 2):
        journal.open(f"job{cell}", "ada", {}, batch, cell)
        recipe = Recipe("p", seed=cell)
        gallery.add("ada", png(), recipe, job_id=f"job{cell}", batch_id=batch)
    assert {c: p.seed for c, p in gallery.of_batch("ada", batch).items()} == {0: 0, 2: 2}
    assert gallery.of_batch("eve", batch) == {}


def test_ten_thousand_pictures_are_paged_as_quickly_as_few(tmp_path: Path) -> None:
    from sqlalchemy import create_engine

    from ui.storage.database import prepare

    engine = create_engine(f"sqlite:///{tmp_path / 'large.db'}")
    prepare(engine)
    files = PictureFiles(tmp_path / "pictures")
    files.prepare()
    gallery = Gallery(engine, files, 10**9)
    sample = add(gallery, "a cat")
    row = sample.row()
    rows = [row | {"id": f"{n:032}", "created_at": n, "prompt": f"p{n}"} for n in range(10_000)]
    with engine.begin() as connection:
        connection.execute(PICTURES.insert(), rows)
    started = time.process_time()
    gallery.page("ada", Search(), 400)
    gallery.count("ada", Search())
    assert time.process_time() - started < 0.5
