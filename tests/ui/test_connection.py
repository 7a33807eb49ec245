"""Starting the studio with data of an earlier one."""

import logging
import os
import time
from pathlib import Path

import pytest

from tests.ui.conftest import png
from ui import connection
from ui.recipe import Recipe
from ui.storage.gallery import Search

pytestmark = pytest.mark.usefixtures("installation")


def test_a_start_with_a_new_database_shows_the_pictures_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gallery = connection.services().gallery
    kept = [gallery.add("ada", png(), Recipe("a cat", seed=seed)) for seed in range(3)]
    connection.close()
    for name in ("gallery.db", "gallery.db-wal", "gallery.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    past = time.time() - 7200
    for path in (tmp_path / "pictures").rglob("*"):
        os.utime(path, (past, past))
    with caplog.at_level(logging.WARNING):
        gallery = connection.services().gallery
    assert gallery.page("ada", Search(oldest_first=True), 1) == sorted(
        kept, key=lambda picture: (picture.created_at, picture.id)
    )
    assert "rows made again from pictures' notes: 3" in caplog.text


def test_the_end_of_the_process_ends_its_threads(tmp_path: Path) -> None:
    import threading

    connection.services()
    connection.close()
    assert "upkeep" not in {thread.name for thread in threading.enumerate()}
