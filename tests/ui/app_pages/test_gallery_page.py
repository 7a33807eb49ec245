"""The gallery page, without a browser."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from streamlit.testing.v1 import AppTest

from tests.support.fake_service import FakeService
from tests.ui.metadata.pictures import text
from tests.ui.pages import OWNER, Visit, choose, has, html_of, keep, on, wait_for
from ui.connection import services
from ui.storage.gallery import PAGE_SIZE, Search


def cards(app: AppTest) -> list[str]:
    prefix = "open-gallery-"
    keys = [button.key or "" for button in app.button]
    return [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]


def test_an_empty_gallery_leads_to_the_studio(visit: Visit) -> None:
    app = on("gallery", visit())
    assert "No pictures yet" in html_of(app)
    app.button(key="first").click().run()
    assert app.button(key="generate")


def test_the_gallery_shows_the_visitor_s_pictures_newest_first(visit: Visit) -> None:
    app = visit().run()
    kept = [keep(f"cat {number}").id for number in range(3)]
    keep("not yours", owner="s-eve")
    app = on("gallery", app)
    assert sorted(cards(app)) == sorted(kept)
    assert "3 pictures" in html_of(app)
    app.selectbox(key="sort").set_value("Oldest first").run()
    assert cards(app) == services().gallery.ids(OWNER, Search(oldest_first=True), 9)


def test_search_and_favourites_narrow_it_and_can_be_cleared(visit: Visit) -> None:
    app = visit().run()
    cat, _dog = keep("a cat"), keep("a dog")
    app = on("gallery", app)
    app.text_input(key="q").set_value("CAT").run()
    assert cards(app) == [cat.id]
    app.toggle(key="fav").set_value(True).run()
    assert "Nothing matches “CAT”" in html_of(app)
    app.button(key="clear-search").click().run()
    assert len(cards(app)) == 2


def test_prompts_are_shown_as_they_were_written(visit: Visit) -> None:
    app = visit().run()
    picture = keep("<script>alert(1)</script> **x**")
    app = on("gallery", visit(), img=picture.id)
    assert "<script" not in html_of(app)
    assert "&lt;script&gt;" in html_of(app)
    label = app.button(key=f"open-gallery-{picture.id}").label
    assert label.replace("\\", "") == picture.prompt
    assert "\\*\\*" in label


def test_more_than_a_page_has_pages(visit: Visit) -> None:
    app = visit().run()
    for number in range(26):
        keep(f"cat {number}", seed=number)
    app = on("gallery", app)
    first = cards(app)
    assert len(first) == 24
    choose(app, "page", 2)
    assert len(cards(app)) == 2
    assert not set(first) & set(cards(app))


def test_a_card_opens_the_lightbox_and_arrows_move_on(visit: Visit) -> None:
    app = visit().run()
    for number in range(3):
        keep(f"cat {number}", seed=number)
    app = on("gallery", app)
    ids = cards(app)
    app.button(key=f"open-gallery-{ids[1]}").click().run()
    assert app.query_params["img"] == ids[1]
    assert not app.button(key="arrow-previous").disabled
    app.button(key="arrow-next").click().run()
    assert app.query_params["img"] == ids[2]
    assert app.button(key="arrow-next").disabled


def test_pictures_of_one_click_are_one_card_that_opens(visit: Visit) -> None:
    app = visit().run()
    alone = keep("a frog")
    batch = [keep(f"cat {seed}", seed, job_id="j1").id for seed in range(3)]
    app = on("gallery", app)
    (top,) = set(cards(app)) - {alone.id}
    assert app.button(key=f"open-gallery-{top}").label.startswith("3 pictures: ")
    page = html_of(app)
    assert '<span class="ink-stack" aria-hidden="true">3</span>' in page
    assert "<p>a frog</p><small>fake</small>" in page
    app.button(key=f"open-gallery-{top}").click().run()
    assert set(cards(app)) == set(batch)
    app.button(key=f"open-gallery-{batch[0]}").click().run()
    assert app.query_params["img"] == batch[0]
    app.button(key="leave-group").click().run()
    assert set(cards(app)) == {alone.id, top}


def test_chosen_pictures_go_into_an_album_and_out_again(visit: Visit) -> None:
    app = visit().run()
    batch = [keep("cat", seed, job_id="j1").id for seed in range(2)]
    frog = keep("a frog").id
    app = on("gallery", app)
    app.toggle(key="choosing").set_value(True).run()
    (top,) = set(cards(app)) - {frog}
    app.button(key=f"open-gallery-{top}").click().run()  # the whole stack
    app.text_input(key="album-bulk-name").set_value("Cats *all*").run()
    app.button(key="album-bulk-make").click().run()
    (album,) = services().albums.of(OWNER)
    assert album.name == "Cats *all*"
    choose(app, "album", album.id)
    assert cards(app) == [top]
    assert set(services().gallery.ids(OWNER, Search(album=album.id), 9)) == set(batch)
    app.button(key="album-bulk-out").click().run()
    assert "An empty album" in html_of(app)
    app.button(key="album-delete").click().run()
    assert services().albums.of(OWNER) == []
    assert services().gallery.count(OWNER) == 3


def test_a_shared_album_has_a_link_until_that_is_ended(visit: Visit) -> None:
    app = visit().run()
    album = services().albums.create(OWNER, "Trip")
    app = on("gallery", app)
    choose(app, "album", album.id)
    assert not app.code
    app.button(key="album-link").click().run()
    assert "/album?k=" in app.code[0].value
    app.button(key="album-unshare").click().run()
    assert not app.code


@pytest.mark.parametrize("picture_id", ["nope", "../secret", "<b>"])
def test_an_unknown_picture_is_said_and_leaves_the_address(visit: Visit, picture_id: str) -> None:
    app = on("gallery", visit(), img=picture_id)
    assert "img" not in app.query_params
    assert any("isn't yours" in toast.value for toast in app.toast)


def test_another_s_picture_stays_closed(visit: Visit) -> None:
    visit().run()
    other = keep("private", owner="s-eve")
    app = on("gallery", visit(), img=other.id)
    assert "private" not in html_of(app)
    assert "img" not in app.query_params


def test_a_favourite_is_kept(visit: Visit) -> None:
    visit().run()
    picture = keep("a cat")
    app = on("gallery", visit(), img=picture.id)
    app.button(key="favourite-lightbox").click().run()
    found = services().gallery.get(OWNER, picture.id)
    assert found is not None
    assert found.favourite
    assert app.button(key="favourite-lightbox").label == "Unfavourite"


def test_its_settings_go_to_the_studio(visit: Visit) -> None:
    visit().run()
    picture = keep("a blue cat", seed=77)
    app = on("gallery", visit(), img=picture.id)
    app.button(key="reuse").click().run()
    assert app.text_area(key="prompt").value == "a blue cat"
    assert app.number_input(key="seed").value == 77


def test_a_variation_is_made_at_once(visit: Visit, service: FakeService) -> None:
    visit().run()
    picture = keep("a blue cat", seed=77)
    app = on("gallery", visit(), img=picture.id)
    app.button(key="lightbox-variation").click().run()
    wait_for(app, lambda _app: bool(service.requests))
    assert service.requests[0].prompt == "a blue cat"
    assert service.requests[0].seed != 77


def test_deleting_can_be_undone(visit: Visit) -> None:
    visit().run()
    picture = keep("a cat")
    app = on("gallery", visit(), img=picture.id)
    app.button(key="delete-confirm").click().run()
    assert cards(app) == []
    assert "1 picture deleted." in [element.value for element in app.markdown]
    app.button(key="undo").click().run()
    assert cards(app) == [picture.id]
    assert not has(app, "undo")


def test_several_can_be_chosen_deleted_and_brought_back(visit: Visit) -> None:
    app = visit().run()
    for number in range(3):
        keep(f"cat {number}")
    app = on("gallery", app)
    app.toggle(key="choosing").set_value(True).run()
    first = cards(app)[0]
    app.button(key=f"open-gallery-{first}").click().run()
    assert "1 chosen" in [element.value for element in app.markdown]
    app.button(key="choose-page").click().run()
    app.button(key="bulk-delete").click().run()
    assert cards(app) == []
    app.button(key="undo").click().run()
    assert len(cards(app)) == 3


SETTINGS = text("parameters", "a dropped cat\nSteps: 9, Seed: 5, Size: 128x128")


def test_a_dropped_picture_can_be_kept(visit: Visit) -> None:
    app = on("gallery", visit())
    data = picture_with_settings()
    app.file_uploader[0].upload("cat.png", data).run()
    app.button(key="keep-dropped-gallery").click().run()
    kept = services().gallery.page(OWNER, Search(), 1)[0]
    assert (kept.prompt, kept.seed, kept.width) == ("a dropped cat", 5, 16)
    assert services().gallery.read(kept) == data
    app.button(key="keep-dropped-gallery").click().run()
    assert services().gallery.count(OWNER) == 1  # the same file, once
    assert any("already" in toast.value for toast in app.toast)


def test_too_large_a_dropped_picture_is_refused_in_a_sentence(visit: Visit, tmp_path: Path) -> None:
    app = on("gallery", visit())
    app.file_uploader[0].upload("cat.png", picture_with_settings(side=6400)).run()
    app.button(key="keep-dropped-gallery").click().run()
    assert not app.exception
    assert any("could not be kept" in e.body and "40 million" in e.body for e in app.error)
    assert services().gallery.count(OWNER) == 0
    assert not [path for path in (tmp_path / "pictures").rglob("*") if path.is_file()]


@pytest.mark.parametrize("cut", [0, 8, 20])
def test_a_damaged_picture_with_settings_is_refused_in_a_sentence(visit: Visit, cut: int) -> None:
    data = picture_with_settings()
    broken = data[: len(data) - 60 + cut]
    app = on("gallery", visit())
    app.file_uploader[0].upload("cat.png", broken).run()
    app.button(key="keep-dropped-gallery").click().run()
    assert not app.exception
    assert any("could not be kept" in error.body for error in app.error)


def test_a_phone_s_picture_is_kept(visit: Visit) -> None:
    import io

    from PIL import Image

    file = io.BytesIO()
    settings = "a cat\nSteps: 3, Seed: 5"
    first, second = (Image.new("RGB", (40, 30), colour) for colour in ("red", "blue"))
    first.save(file, "MPO", save_all=True, append_images=[second], comment=settings)
    app = on("gallery", visit())
    app.file_uploader[0].upload("phone.jpg", file.getvalue()).run()
    app.button(key="keep-dropped-gallery").click().run()
    kept = services().gallery.page(OWNER, Search(), 1)[0]
    assert (kept.mime_type, kept.width, kept.height) == ("image/jpeg", 40, 30)
    assert services().gallery.read(kept) == file.getvalue()


def test_a_dropped_picture_s_settings_can_be_used(visit: Visit) -> None:
    app = on("gallery", visit())
    app.file_uploader[0].upload("cat.png", picture_with_settings()).run()
    app.button(key="use-dropped-gallery").click().run()
    assert app.text_area(key="prompt").value == "a dropped cat"


def picture_with_settings(side: int = 16) -> bytes:
    import io

    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info, file = PngInfo(), io.BytesIO()
    info.add_text("parameters", "a dropped cat\nSteps: 9, Seed: 5, Size: 128x128")
    Image.new("1", (side, side)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def test_a_picture_finished_elsewhere_is_told_once(visit: Visit, service: FakeService) -> None:
    service.step_s = 0.02
    app = visit().run()
    app.text_area(key="prompt").set_value("a cat")
    app.button(key="generate").click().run()
    app.switch_page("app_pages/gallery.py").run()
    wait_for(app, lambda a: any("is ready" in toast.value for toast in a.toast))
    app.run()
    assert not app.toast


def test_a_gallery_without_its_database_does_not_pretend(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = visit().run()

    def locked(*_args: Any) -> None:
        raise OperationalError("select", {}, Exception("database is locked"))

    monkeypatch.setattr(services().gallery, "count", locked, raising=False)
    app.switch_page("app_pages/gallery.py").run()
    assert app.exception


def test_a_crash_becomes_a_card_with_a_number() -> None:
    def crash() -> None:
        from sqlalchemy.exc import OperationalError

        from ui.components.crash import show_crash
        from ui.storage.database_lock import DatabaseInUse

        for error in (
            DatabaseInUse("/x"),
            OperationalError("q", {}, Exception()),
            OSError(28, "full"),
            ValueError("/x"),
        ):
            assert show_crash(error)

    app = AppTest.from_function(crash).run()
    assert not app.exception
    titles = [error.proto.title for error in app.error]
    assert titles == [
        "Another studio uses this database",
        "The gallery's database does not answer",
        "The data folder can't be used",
        "This page stumbled",
    ]
    assert all("/x" not in error.body for error in app.error)
    assert len({caption.value for caption in app.caption}) == 4


def test_whoever_comes_back_finds_album_search_and_page_as_they_were(visit: Visit) -> None:
    app = visit().run()
    ids = [keep(f"red cat {number}", seed=number).id for number in range(PAGE_SIZE + 1)]
    keep("a blue dog", seed=99)
    album = services().albums.create(OWNER, "Cats")
    services().albums.add(OWNER, album.id, ids)
    app = on("gallery", app)
    choose(app, "album", album.id)
    app.text_input(key="q").set_value("cat").run()
    choose(app, "page", 2)
    assert cards(app) == [ids[0]]
    app = on("gallery", on("studio", app))
    assert app.text_input(key="q").value == "cat"
    assert cards(app) == [ids[0]]
    services().gallery.delete(OWNER, ids[:2])
    app = on("gallery", on("studio", app))
    assert len(cards(app)) == PAGE_SIZE - 1
