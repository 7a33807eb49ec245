"""The archive that carries the recipe's packages to a machine without a registry."""

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from training import archive, packages, paths, things

DOG, CAT = "1f415", "1f408"
LABELS = {DOG: ("dog", "Hund"), CAT: ("cat", "Katze")}


def write_packages(root: Path) -> None:
    """The packages' layout, with a thing of the list and one that is not in it."""
    for language, place in (("en", 0), *((language, 1) for language in things.LANGUAGES)):
        folder = root / things.EMOJIBASE / language
        folder.mkdir(parents=True)
        entries = [
            {
                "hexcode": code.upper(),
                "label": labels[place],
                "emoji": "🐕",
                "group": 3,
                "skins": [1],
            }
            for code, labels in LABELS.items()
        ]
        (folder / "data.json").write_text(json.dumps(entries), encoding="utf-8")
    (root / things.EMOJILIB / "dist").mkdir(parents=True)
    (root / things.EMOJILIB / "dist/emoji-en-US.json").write_text(
        '{"🐕": ["pet"]}', encoding="utf-8"
    )
    (root / things.DRAWINGS).mkdir(parents=True)
    (root / things.DRAWINGS / "chars.json").write_text(
        json.dumps({DOG: "dog", CAT: "cat"}), encoding="utf-8"
    )
    icons = {name: {"body": f"<g id='{name}'/>"} for name in ("dog", "cat")}
    (root / things.DRAWINGS / "icons.json").write_text(
        json.dumps({"width": 32, "icons": icons}), encoding="utf-8"
    )
    (root / things.RENDERINGS).mkdir(parents=True)
    for code in (DOG, CAT):
        Image.new("RGBA", (8, 8), "red").save(root / things.RENDERINGS / f"{code}.webp")


def test_an_unpacked_archive_reads_the_same_things(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, there = tmp_path / "packages", tmp_path / "there"
    write_packages(root)
    (tmp_path / "things.txt").write_text("# animals\ndog | hound\n", encoding="utf-8")
    monkeypatch.setattr(paths, "THINGS", tmp_path / "things.txt")
    monkeypatch.setattr(packages, "download", lambda: root)
    archive.write(tmp_path / "training.tar", tmp_path)
    with tarfile.open(tmp_path / "training.tar") as tar:
        tar.extractall(there, filter="data")
    (mine,), (theirs,) = things.read_things(root), things.read_things(there / "packages")
    assert Path(theirs.file).read_bytes() == Path(mine.file).read_bytes()
    assert replace(theirs, file=mine.file) == mine
    assert mine.foreign[0] == ("de", "hund")
    assert "cat" not in (there / "packages" / things.DRAWINGS / "icons.json").read_text("utf-8")
    assert not (there / "packages" / things.RENDERINGS / f"{CAT}.webp").exists()
