"""A process killed while saving: reported pictures exist, and nothing is inconsistent."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import sqlalchemy as sa

from tests.ui.storage.test_lock import ROOT
from ui.storage.database import prepare
from ui.storage.files import PictureFiles
from ui.storage.gallery import Gallery, Search
from ui.storage.quarantine import Quarantine
from ui.storage.recovery import recover
from ui.storage.verify import verify
from ui.storage.whole import DRAFT_PREFIX

KEEP = """
import sys
from pathlib import Path
import sqlalchemy as sa
from tests.ui.conftest import png
from ui.recipe import Recipe
from ui.storage.database import prepare
from ui.storage.files import PictureFiles
from ui.storage.gallery import Gallery

folder = Path(sys.argv[1])
engine = sa.create_engine(f"sqlite:///{folder / 'gallery.db'}")
prepare(engine)
files = PictureFiles(folder / "pictures")
files.prepare()
gallery = Gallery(engine, files, 10**9)
seed = 0
while True:
    picture = gallery.add("ada", png(), Recipe("p", seed=seed, width=64, height=64))
    print(picture.id, flush=True)
    if seed % 3 == 2:
        gallery.delete("ada", [picture.id])
    seed += 1
"""
KILLS = 4


def test_what_was_told_is_kept_whenever_the_process_is_killed(tmp_path: Path) -> None:
    told: list[str] = []
    for _ in range(KILLS):
        told += kill_while_it_keeps(tmp_path)
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'gallery.db'}")
    prepare(engine)
    files = PictureFiles(tmp_path / "pictures")
    past = time.time() - 7200
    for path in files.folder.rglob("*"):
        os.utime(path, (past, past))
    found = recover(engine, files, Quarantine(tmp_path))
    assert (found.quarantined, found.left, found.missing) == (0, 0, 0)
    gallery = Gallery(engine, files, 10**9)
    kept = {picture.id for picture in gallery.page("ada", Search(), 1, 10**6)}
    with engine.connect() as connection:
        every = set(connection.execute(sa.text("SELECT id FROM pictures")).scalars())
    assert set(told) <= every
    assert len(kept) >= len(told) * 2 // 3
    assert verify(engine, tmp_path)[1] == []
    assert not list(files.folder.rglob(f"{DRAFT_PREFIX}*"))


def kill_while_it_keeps(folder: Path) -> list[str]:
    """What it told before it was killed, some pictures after its start."""
    command = [sys.executable, "-c", KEEP, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(random.randint(3, 9))]
        time.sleep(random.random() * 0.1)
        process.kill()
        return told + process.stdout.read().split()
