"""Packs everything that training needs into a small archive, for an offline machine."""

import json
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

from training import packages, things

LABELS = ("hexcode", "label", "tags", "emoji", "group")
"""What is kept of an entry of emojibase."""


def _emojibase(file: Path) -> list[dict[str, Any]]:
    entries = json.loads(file.read_text(encoding="utf-8"))
    return [{key: entry[key] for key in LABELS if key in entry} for entry in entries]


def _drawings(folder: Path, chosen: list[things.Thing]) -> dict[str, Any]:
    """icons.json reduced to the drawings of our things."""
    icons, names = (
        json.loads((folder / f).read_text("utf-8")) for f in ("icons.json", "chars.json")
    )
    wanted = {names.get(Path(thing.file).stem.lower().replace("-fe0f", "")) for thing in chosen}
    icons["icons"] = {name: icon for name, icon in icons["icons"].items() if name in wanted}
    return {"width": icons["width"], "icons": icons["icons"]}


def write(file: Path, cache: Path) -> None:
    """Write a tar file to unpack as the cache; includes the small autoencoder if trained."""
    root = packages.download()
    chosen = things.read_things(root)
    texts: dict[str, Any] = {
        f"{things.EMOJIBASE}/{language}/data.json": _emojibase(
            root / things.EMOJIBASE / language / "data.json"
        )
        for language in ("en", *things.LANGUAGES)
    }
    texts[f"{things.DRAWINGS}/icons.json"] = _drawings(root / things.DRAWINGS, chosen)
    copied = [Path(thing.file) for thing in chosen]
    copied += [root / things.DRAWINGS / "chars.json"]
    copied += [root / things.EMOJILIB / "dist/emoji-en-US.json"]
    with tarfile.open(file, "w") as tar:
        for name, content in texts.items():
            data = json.dumps(content, ensure_ascii=False).encode()
            entry = tarfile.TarInfo(f"packages/{name}")
            entry.size = len(data)
            tar.addfile(entry, BytesIO(data))
        for path in copied:
            tar.add(path, f"packages/{path.relative_to(root)}")
        for name in ("tokenizer", "autoencoder.pt"):
            if (cache / name).exists():
                tar.add(cache / name, name)
