"""A clone that Git for Windows made, in a folder with every character that once broke something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backend.model.checkpoint.fingerprint import fingerprint

ROOT = Path(__file__).parent.parent.parent
FILES = (".gitattributes", "scripts", "models", ":!*.safetensors", "ui", "client.py",
         "text2image", "proto")  # fmt: skip
OPEN_A_GALLERY = """
from sqlalchemy import create_engine, inspect
from ui.settings import load_settings
from ui.storage import database

settings = load_settings({})
settings.data_dir.mkdir()
engine = create_engine(settings.database_url)
database.prepare(engine)
assert inspect(engine).has_table("pictures")
assert (settings.data_dir / "gallery.db").is_file()
assert "100%" in database.__file__  # this clone's migrations
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    folder = tmp_path_factory.mktemp("clone") / "100% a ü?"
    git = ["git", "-c", "core.autocrlf=true"]
    subprocess.run(
        [*git, "clone", "--quiet", "--shared", "--no-checkout", ROOT, folder], check=True
    )
    checkout = [*git, "checkout", "--quiet", "HEAD", "--", *FILES]
    subprocess.run(checkout, cwd=folder, check=True)
    return folder


def test_scripts_and_texts_have_their_bytes(clone: Path) -> None:
    found = [path for path in clone.rglob("*") if path.is_file() and ".git" not in path.parts]
    assert len(found) > 50
    texts = [path for path in found if path.suffix not in (".png", ".webp", ".binpb")]
    assert [path.name for path in texts if b"\r\n" in path.read_bytes()] == []
    done = subprocess.run([clone / "scripts" / "torch-hint"], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_the_embedded_model_is_the_same_revision(clone: Path, tmp_path: Path) -> None:
    (embedded,) = (path.parent for path in (clone / "models").glob("*/model_index.json"))
    for ours, name in ((ROOT, "ours"), (clone, "theirs")):
        texts = tmp_path / name
        for file in embedded.rglob("*"):
            if file.is_file():
                copy = texts / file.relative_to(embedded)
                copy.parent.mkdir(parents=True, exist_ok=True)
                original = ours / "models" / embedded.name / file.relative_to(embedded)
                copy.write_bytes(original.read_bytes())
    assert fingerprint(tmp_path / "ours") == fingerprint(tmp_path / "theirs")


def test_a_gallery_opens_there(clone: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OPEN_A_GALLERY], cwd=clone, check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    assert (clone / ".data" / "gallery.db").is_file()
