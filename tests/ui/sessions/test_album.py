"""What a session leaves to take home."""

from __future__ import annotations

import io
import zipfile

from PIL import Image

from tests.ui.sessions.conftest import Venue, all_made, ask, join, wait_for
from ui.sessions import album
from ui.sessions.room import Verdict


class TestAlbum:
    def test_it_holds_what_is_shown_as_it_was_made_with_sheet_and_page(self, venue: Venue) -> None:
        room = venue.start()
        phone = join(venue, room, "Ömer")
        shown, hidden = ask(phone, room, "a cat"), ask(phone, room, "a dog")
        wait_for(lambda: all_made(room))
        venue.sessions.judge(room.session.id, [hidden], Verdict.HIDDEN)
        made = album.make(venue.sessions, venue.gallery, room)
        with zipfile.ZipFile(io.BytesIO(made)) as archive:
            names = archive.namelist()
            assert names == [
                "pictures/001-mer-a-cat.png",
                "contact-sheet-1.png",
                "index.html",
            ]
            kept = venue.gallery.get(room.session.gallery_owner, shown)
            assert kept is not None
            assert archive.read(names[0]) == venue.gallery.read(kept)
            page = archive.read("index.html").decode()
            sheet = Image.open(io.BytesIO(archive.read("contact-sheet-1.png"))).convert("RGB")
            original = Image.open(io.BytesIO(archive.read(names[0]))).convert("RGB")
        assert "Ömer" in page
        assert "a dog" not in page
        assert "data:image/webp;base64," in page
        assert "http" not in page
        colour = original.getpixel((10, 10))
        found = sheet.getpixel((album.MARGIN + 100, 2 * album.MARGIN + 48 + 100))
        assert isinstance(colour, tuple)
        assert isinstance(found, tuple)
        assert max(abs(a - b) for a, b in zip(colour, found, strict=True)) < 12

    def test_a_file_that_somebody_removed_is_named(self, venue: Venue) -> None:
        room = venue.start()
        picture_id = ask(join(venue, room), room)
        wait_for(lambda: all_made(room))
        path = venue.gallery._files.original(picture_id)
        assert path is not None
        path.unlink()
        made = album.make(venue.sessions, venue.gallery, room)
        with zipfile.ZipFile(io.BytesIO(made)) as archive:
            assert archive.read("missing.txt") == b"001-ada-a-cat"
