"""Checks statements of the README."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import client
from backend.config import Settings
from scripts import readme_images

ROOT = Path(__file__).parent.parent.parent
IMAGES = ROOT / "docs" / "images"
README = (ROOT / "README.md").read_text("utf-8")
BACKEND_TABLE, UI_TABLE = re.split(r"The studio reads:", README.split("## Configuration")[1])[:2]


def documented(table: str) -> set[str]:
    """Variable names of the first column; `_X` beside a whole name shares its prefix."""
    names = re.findall(r"`(TEXT2IMAGE)?_([A-Z0-9_]+)`", "\n".join(_first_cells(table)))
    return {name.lower() for _, name in names}


def _first_cells(table: str) -> list[str]:
    return [line.split("|")[1] for line in table.splitlines() if line.startswith("| `TEXT2IMAGE")]


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    assert documented(BACKEND_TABLE) == set(Settings.model_fields)


@pytest.mark.parametrize(
    "row", [cell for cell in BACKEND_TABLE.splitlines() if "TEXT2IMAGE" in cell]
)
def test_documented_defaults_are_the_defaults(row: str) -> None:
    cells = [cell.strip() for cell in row.split("|")]
    names = [name.lower() for _, name in re.findall(r"`(TEXT2IMAGE)?_([A-Z0-9_]+)`", cells[1])]
    shown = re.findall(r"`([^`]*)`", cells[2])
    if not shown:
        return
    for name, default in zip(names, shown, strict=True):
        value = Settings.model_fields[name].default
        assert default in {str(value), str(int(value)) if isinstance(value, (bool, float)) else ""}


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", *map(str, Path("docs").rglob("*.md"))]
)
def test_the_files_that_documents_name_exist(document: str) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    files = [f"/{line}" for line in listed.splitlines()]
    text = (ROOT / document).read_text("utf-8")
    named = sorted(set(re.findall(r"`([a-z0-9_/]+\.(?:py|toml|proto|css|js))`", text)))
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []


def test_command_lines_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `python client.py …` line parses: argparse leaves with 2 where it does not."""
    lines = re.findall(r"^python client\.py ([a-z].+)$", README, flags=re.MULTILINE)
    assert len(lines) >= 3
    for line in lines:
        client.build_parser().parse_args(shlex.split(line))


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"`make ([a-z0-9-]+)`", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_python_example_runs_as_written() -> None:
    example = re.search(r"```python\n(.+?)```", README, flags=re.DOTALL)
    assert example is not None
    compile(example.group(1), "README.md", "exec")


def test_the_pictures_of_the_readme_come_out_of_the_screenshots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shots, written = tmp_path / "shots", tmp_path / "images"
    shots.mkdir()
    for name in readme_images.PAGES.values():
        Image.new("RGB", (1440, 900), "navy").save(shots / f"{name}.png")
    for name, (width, height) in (
        ("wall-done", (1920, 1080)),
        ("host-approve-first", (1440, 2000)),
        *((guest, (720, 1600)) for guest in readme_images.GUEST),
    ):
        Image.new("RGB", (width, height), "teal").save(shots / f"session-light-{name}.png")
    monkeypatch.setattr(readme_images, "TARGET", written)
    readme_images.write_readme_images(shots)
    sizes = {path.name: Image.open(path).size for path in written.iterdir()}
    assert set(sizes) == {p.name for p in IMAGES.iterdir() if p.suffix in (".png", ".webp")}
    assert sizes["wall.webp"] == (1600, 900)
    assert sizes["sessions-host.webp"] == (1440, 900)
    assert sizes["sessions-guest.webp"] == (1560, 688)
    phones = np.asarray(Image.open(written / "sessions-guest.webp").convert("RGB"))
    assert np.abs(phones.astype(int) - (0, 128, 128)).max() < 8  # nothing is left black
