"""A backup that version 0.1 made, with the tables and columns of then, comes back whole."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.ui.conftest import png
from ui.storage.__main__ import main
from ui.storage.albums import Albums
from ui.storage.decoding import make_thumbnail
from ui.storage.files import THUMBNAIL_SUFFIX, PictureFiles
from ui.storage.gallery import Gallery, Search
from ui.storage.journal import Journal

ID = "0123456789abcdef0123456789abcdef"
DATA = png("teal")
PICTURE: dict[str, Any] = {
    "id": ID,
    "owner": "b-ada",
    "created_at": 1_700_000_000_000,
    "job_id": "j1",
    "batch_id": "b1",
    "prompt": "Ein ROTER Apfel 🍎",
    "negative_prompt": "blurry",
    "width": 64,
    "height": 64,
    "steps": 25,
    "guidance": 6.5,
    "seed": 2**53 - 1,
    "scheduler": "ddim",
    "model": "text2image-mini",
    "duration_ms": 900,
    "mime_type": "image/png",
    "num_bytes": len(DATA),
    "sha256": hashlib.sha256(DATA).hexdigest(),
    "favourite": True,
    "deleted_at": None,
}
JOB = {
    "id": "j1",
    "owner": "b-ada",
    "batch_id": "b1",
    "cell": 3,
    "state": "done",
    "recipe": {"prompt": "Ein ROTER Apfel 🍎", "steps": 25, "count": 1},
    "error_code": "",
    "error_text": "",
    "created_at": 1_700_000_000_000,
    "finished_at": 1_700_000_000_900,
    "runner": None,
    "lease_until": None,
}
BATCH = {"id": "b1", "owner": "b-ada", "created_at": 1_700_000_000_000, "plan": {"x": [1, 2]}}
ROWS = {
    "batches": [BATCH],
    "jobs": [JOB],
    "pictures": [PICTURE | {"prompt_folded": "ein roter apfel 🍎"}],
}


def old_backup(path: Path) -> None:
    files = {
        f"pictures/{ID[:2]}/{ID}.json": json.dumps(PICTURE).encode(),
        f"pictures/{ID[:2]}/{ID}.png": DATA,
        f"pictures/{ID[:2]}/{ID}{THUMBNAIL_SUFFIX}": make_thumbnail(DATA),
        "secret": b"s" * 32,
        **{
            f"tables/{name}.jsonl": b"".join(json.dumps(row).encode() + b"\n" for row in rows)
            for name, rows in ROWS.items()
        },
        "backup.json": b'{"format": "inkling-backup", "version": 1, "made_at": "2025-01-01"}',
    }
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_everything_of_then_is_there_and_what_came_later_is_as_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_backup(tmp_path / "old.tar")
    home = tmp_path / "home"
    url = f"sqlite:///{home / 'gallery.db'}"
    monkeypatch.setenv("TEXT2IMAGE_DATA_DIR", str(home))
    monkeypatch.setenv("TEXT2IMAGE_DATABASE_URL", url)
    assert main(["restore", str(tmp_path / "old.tar")]) == 0
    assert main(["verify"]) == 0

    engine = sa.create_engine(url)
    gallery = Gallery(engine, PictureFiles(home / "pictures"), 10**9)
    (picture,) = gallery.page("b-ada", Search("roter", favourites=True), 1)
    assert {name: getattr(picture, name) for name in PICTURE} == PICTURE
    assert gallery.read(picture) == DATA
    assert (picture.clip_skip, picture.strength, picture.upscale) == (1, None, 1.0)
    assert (picture.recipe.width, picture.recipe.upscale) == (64, 1.0)
    assert gallery.of_batch("b-ada", "b1") == {3: picture}
    assert gallery.count_stacks("b-ada", Search()) == 1
    journal = Journal(engine)
    assert [entry.state for entry in journal.recent("b-ada")] == ["done"]
    assert journal.batches("b-ada")[0].plan == {"x": [1, 2]}
    assert (home / "secret").read_bytes() == b"s" * 32
    albums = Albums(engine)
    album = albums.create("b-ada", "Apples")
    assert albums.add("b-ada", album.id, [ID]) == 1
    engine.dispose()
