"""The page behind an album's link, over plain HTTP without a login."""

import io
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.ui.conftest import png
from ui.identity import Signer
from ui.recipe import Recipe
from ui.shared_album import Links, Shelf, album_routes
from ui.storage.albums import Albums
from ui.storage.database import prepare
from ui.storage.files import PictureFiles
from ui.storage.gallery import Gallery

SIGNER = Signer(b"secret")
COLOURS = {"a red <apple>": "red", "a blue car": "blue"}


@dataclass
class Shared:
    browser: TestClient
    shelf: Shelf
    album_id: str
    kept: dict[str, str]  # id by prompt
    secret_id: str  # of a picture outside the album

    def key(self, seconds: float = 60) -> str:
        album = self.shelf.albums.get("ada", self.album_id)
        assert album is not None
        return Links(SIGNER).make(album.id, album.share_key or "", int(time.time() + seconds))

    def get(self, path: str, key: str | None = None) -> "tuple[int, bytes]":
        answer = self.browser.get(f"/album{path}", params={"k": key or self.key()})
        return answer.status_code, answer.content


@pytest.fixture
def shared(tmp_path: Path, files: PictureFiles) -> Shared:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'g.db'}")
    prepare(engine)
    shelf = Shelf(Albums(engine), Gallery(engine, files, 10**7), files)

    def keep(prompt: str, colour: str) -> str:
        recipe = Recipe(prompt, width=64, height=64, seed=1, scheduler="ddim", model="m")
        return shelf.gallery.add("ada", png(colour), recipe).id

    kept = {prompt: keep(prompt, colour) for prompt, colour in COLOURS.items()}
    album = shelf.albums.create("ada", "Trip & <b>more</b>")
    shelf.albums.add("ada", album.id, kept.values())
    shelf.albums.share("ada", album.id)
    browser = TestClient(Starlette(routes=album_routes(lambda: shelf, SIGNER)))
    return Shared(browser, shelf, album.id, kept, keep("a secret", "lime"))


def test_the_page_shows_the_album_s_pictures_and_no_controls(shared: Shared) -> None:
    status, page = shared.get("")
    assert status == 200
    text = page.decode()
    assert "Trip &amp; &lt;b&gt;more&lt;/b&gt;" in text
    assert "a red &lt;apple&gt;" in text
    for picture_id in shared.kept.values():
        assert f"./album/{picture_id}/thumb" in text
    assert shared.secret_id not in text
    assert not any(tag in text for tag in ("<button", "<form", "<input", "<script"))


def test_the_zip_holds_the_very_originals(shared: Shared) -> None:
    status, data = shared.get("/pictures.zip")
    assert status == 200
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {"a-red-apple-1.png": png("red"), "a-blue-car-1.png": png("blue")}


def test_pictures_come_in_full_and_as_thumbnails(shared: Shared) -> None:
    picture_id = shared.kept["a blue car"]
    assert shared.get(f"/{picture_id}/full") == (200, png("blue"))
    status, thumbnail = shared.get(f"/{picture_id}/thumb")
    assert status == 200
    with Image.open(io.BytesIO(thumbnail)) as picture:
        red, _green, blue = picture.convert("RGB").getpixel((5, 5))  # type: ignore[misc]
    assert blue > 240 > 15 > red


@pytest.mark.parametrize("path", ["", "/pictures.zip", "/{id}/full", "/{id}/thumb"])
def test_nothing_is_shown_with_another_key_or_after_its_time(shared: Shared, path: str) -> None:
    path = path.format(id=next(iter(shared.kept.values())))
    working, expired = shared.key(), shared.key(-1)
    stranger = Links(Signer(b"other")).make(shared.album_id, "x", int(time.time()) + 60)
    for key in (expired, stranger, working[:-1], working + "x", "nonsense", "é", ""):
        status, answer = shared.get(path, key or " ")
        assert status == 404, key
        assert b"expired" in answer
    assert shared.get(path, working)[0] == 200
    shared.shelf.albums.unshare("ada", shared.album_id)
    assert shared.get(path, working)[0] == 404


def test_what_is_not_in_the_album_is_not_shown(shared: Shared) -> None:
    assert shared.get(f"/{shared.secret_id}/full")[0] == 404
    gone = shared.kept["a blue car"]
    shared.shelf.gallery.delete("ada", [gone])
    assert shared.get(f"/{gone}/full")[0] == 404
    assert gone not in shared.get("")[1].decode()


def test_nobody_keeps_or_indexes_the_page(shared: Shared) -> None:
    answer = shared.browser.get("/album", params={"k": shared.key()})
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-robots-tag"] == "noindex"
