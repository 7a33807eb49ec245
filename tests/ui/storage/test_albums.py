"""Albums and stacks, in both kinds of database."""

import pytest
from sqlalchemy import Engine

from tests.ui.conftest import png
from tests.ui.storage.test_gallery import add
from ui.recipe import Recipe
from ui.storage import albums as module
from ui.storage.albums import AlbumRefused, Albums
from ui.storage.gallery import Gallery, Picture, Search


def add_to_job(gallery: Gallery, job: str, seed: int, batch: str | None = None) -> Picture:
    recipe = Recipe(f"{job} {seed}", seed=seed, scheduler="ddim", model="m")
    return gallery.add("ada", png(), recipe, job_id=job, batch_id=batch)


def test_pictures_of_one_click_lie_in_one_stack(gallery: Gallery) -> None:
    three = [add_to_job(gallery, "job", seed).id for seed in range(3)]
    alone = add(gallery, "alone").id
    grid = [add_to_job(gallery, f"cell{n}", n, batch="grid").id for n in range(2)]
    add(gallery, "not hers", owner="eve")
    found = gallery.stacks("ada", Search(), 1)
    assert {stack.group: set(stack.picture_ids) for stack in found} == {
        "grid": set(grid),
        alone: {alone},
        "job": set(three),
    }
    assert [stack.top.id in stack.picture_ids for stack in found] == [True] * 3
    times = [stack.top.created_at for stack in found]
    assert times == sorted(times, reverse=True)
    assert gallery.count_stacks("ada", Search()) == 3
    assert set(gallery.ids("ada", Search(group="job"), 9)) == set(three)


def test_a_stack_shows_what_is_left_of_it_and_what_the_search_finds(gallery: Gallery) -> None:
    kept = [add_to_job(gallery, "job", seed) for seed in range(3)]
    top = gallery.stacks("ada", Search(), 1)[0].top
    gallery.delete("ada", [top.id])
    (stack,) = gallery.stacks("ada", Search(), 1)
    assert top.id not in stack.picture_ids
    assert len(stack.picture_ids) == 2
    left = next(picture for picture in kept if picture.id != top.id)
    (stack,) = gallery.stacks("ada", Search(left.prompt), 1)
    assert stack.picture_ids == (left.id,)


def test_pages_of_stacks_miss_none(gallery: Gallery) -> None:
    for number in range(5):
        add_to_job(gallery, f"j{number // 2}", number)
    pages = [gallery.stacks("ada", Search(), number, 2) for number in (1, 2)]
    assert [len(page) for page in pages] == [2, 1]
    assert {stack.group for page in pages for stack in page} == {"j0", "j1", "j2"}


def test_an_album_holds_its_owner_s_pictures_until_they_are_taken_out(
    engine: Engine, gallery: Gallery
) -> None:
    albums = Albums(engine)
    mine, other, theirs = add(gallery, "a"), add(gallery, "b"), add(gallery, "c", owner="eve")
    album = albums.create("ada", "  Red \n things ")
    assert album.name == "Red things"
    assert albums.add("ada", album.id, [mine.id, other.id, theirs.id, "nothing"]) == 2
    assert albums.add("ada", album.id, [mine.id]) == 0
    search = Search(album=album.id)
    assert set(gallery.ids("ada", search, 9)) == {mine.id, other.id}
    gallery.delete("ada", [other.id])
    assert gallery.ids("ada", search, 9) == [mine.id]
    albums.remove("ada", album.id, [mine.id])
    assert gallery.count("ada", search) == 0
    assert gallery.get("ada", mine.id) is not None


def test_an_album_is_its_owner_s_alone(engine: Engine, gallery: Gallery) -> None:
    albums = Albums(engine)
    album = albums.create("ada", "hers")
    hers, his = add(gallery, "hers"), add(gallery, "his", owner="eve")
    albums.add("ada", album.id, [hers.id])
    assert albums.add("eve", album.id, [his.id]) == 0
    albums.remove("eve", album.id, [hers.id])
    albums.rename("eve", album.id, "his")
    albums.share("eve", album.id)
    albums.delete("eve", album.id)
    assert albums.of("eve") == []
    assert albums.of("ada") == [album]
    assert gallery.ids("ada", Search(album=album.id), 9) == [hers.id]


def test_a_link_s_key_works_until_the_owner_ends_it(engine: Engine) -> None:
    albums = Albums(engine)
    album = albums.create("ada", "trip")
    assert albums.shared(album.id, "") is None
    albums.share("ada", album.id)
    shared = albums.get("ada", album.id)
    assert shared is not None
    assert shared.share_key
    albums.share("ada", album.id)  # the links of the first time still work
    assert albums.shared(album.id, shared.share_key) == shared
    albums.unshare("ada", album.id)
    assert albums.shared(album.id, shared.share_key) is None


def test_too_much_is_refused_in_a_sentence(
    engine: Engine, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PICTURES", 2)
    monkeypatch.setattr(module, "MAX_ALBUMS", 1)
    albums = Albums(engine)
    with pytest.raises(AlbumRefused, match="a name"):
        albums.create("ada", " \n")
    album = albums.create("ada", "x" * 99)
    assert len(album.name) == 80
    with pytest.raises(AlbumRefused, match="1 albums already"):
        albums.create("ada", "another")
    kept = [add(gallery, "p").id for _ in range(3)]
    with pytest.raises(AlbumRefused, match="2 pictures at most"):
        albums.add("ada", album.id, kept)
    assert gallery.count("ada", Search(album=album.id)) == 0


def test_deleting_everything_takes_the_albums_along(engine: Engine, gallery: Gallery) -> None:
    albums = Albums(engine)
    album = albums.create("ada", "gone")
    albums.add("ada", album.id, [add(gallery, "a").id])
    gallery.delete_everything("ada")
    assert albums.of("ada") == []
