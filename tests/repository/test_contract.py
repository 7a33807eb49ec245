"""The contract's own rules, by buf: its style, and that old clients keep working."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BUF = Path(sys.executable).parent / "buf"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the contract that a test may spoil."""
    for name in ("buf.yaml", "buf", "proto/text2image.proto", "scripts/contract-check"):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target)
        else:
            shutil.copy(ROOT / name, target)
    (tmp_path / "proto/text2image.proto").chmod(0o644)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/buf").symlink_to(BUF)
    return tmp_path


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [folder / "scripts/contract-check"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def spoil(folder: Path, old: str, new: str) -> None:
    contract = folder / "proto/text2image.proto"
    text = contract.read_text("utf-8")
    assert old in text
    contract.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("optional int32 height = 2;", "optional int64 height = 2;", "changed type"),
        ("string prompt = 1;", "string prompt = 99;", "prompt"),
        ("int32 width = 3;\n  // In pixels.", "int32 wide = 3;\n  // In pixels.", "wide"),
        ("bool include_abilities = 1;", "bool include_abilities  = 1;", "include_abilities"),
        ("double uptime_s = 4;", "double UptimeS = 4;", "lower_snake_case"),
    ],
)
def test_a_change_that_breaks_clients_or_style_is_found(
    copy: Path, old: str, new: str, complaint: str
) -> None:
    spoil(copy, old, new)
    result = check(copy)
    assert result.returncode != 0
    assert complaint in result.stdout + result.stderr


def test_an_added_field_breaks_nobody(copy: Path) -> None:
    spoil(copy, "bool include_abilities = 1;", "bool include_abilities = 1;\n  bool all = 2;")
    result = check(copy)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_contract_keeps_its_rules() -> None:
    result = check(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_module_that_others_take_is_the_contract_alone(tmp_path: Path) -> None:
    """What `buf generate` and `buf push` see of this repository."""
    subprocess.run([BUF, "export", ROOT, "-o", tmp_path], check=True, timeout=60)
    [file] = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert file.relative_to(tmp_path) == Path("text2image.proto")
    assert file.read_bytes() == (ROOT / "proto/text2image.proto").read_bytes()
