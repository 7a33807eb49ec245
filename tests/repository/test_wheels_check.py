"""`make wheels-check`: what uv says of each computer, compared with the README's table."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from scripts import wheels_check
from scripts.wheels_check import ALL, COMPUTERS, DIFFERENT, NONE, UNASKED, WITHOUT, Computer

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text("utf-8")
MAC, OLD_MAC = COMPUTERS[2], COMPUTERS[5]
OLD_GLIBC = COMPUTERS[4]
# File names as the package index lists them.
TORCH = "torch-2.13.0-cp311-cp311-macosx_14_0_arm64.whl"
ARM_TORCH = "torch-2.13.0-cp311-cp311-manylinux_2_28_aarch64.whl"
OPENVINO = "openvino-2026.4.1-22-cp311-cp311-manylinux_2_35_aarch64.whl"
MAC_OPENVINO = "openvino-2026.4.1-22-cp311-cp311-macosx_11_0_arm64.whl"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """uv's options for a folder of these wheels, for a project that needs nothing else."""
    for file in (TORCH, ARM_TORCH, OPENVINO, MAC_OPENVINO):
        name, version, *_ = file.split("-")
        with zipfile.ZipFile(tmp_path / file, "w") as wheel:
            told = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            wheel.writestr(f"{name}-{version}.dist-info/METADATA", told)
    (tmp_path / "constraints.txt").write_text("torch==2.13.0\n", "utf-8")
    (tmp_path / "pyproject.toml").write_text(
        "[project]\nname = 'x'\nversion = '1'\n[project.optional-dependencies]\n"
        "backend = ['torch']\nui = []\nopenvino = ['openvino']\n",
        "utf-8",
    )
    monkeypatch.setattr(wheels_check, "ROOT", tmp_path)
    return ["--no-index", "--find-links", str(tmp_path)]


@pytest.mark.parametrize(
    ("computer", "python", "answer", "lacking"),
    [
        (MAC, "3.11", ALL, ""),
        (MAC, "3.12", NONE, "torch"),
        (OLD_MAC, "3.11", NONE, "torch"),
        (OLD_GLIBC, "3.11", WITHOUT, "openvino"),
    ],
)
def test_wheels_of_other_systems_pythons_and_releases_do_not_count(
    index: list[str], computer: Computer, python: str, answer: str, lacking: str
) -> None:
    found, why = wheels_check.found(computer, python, *index)
    assert found == answer
    assert lacking in why


def test_an_index_that_does_not_answer_is_no_missing_wheel(
    index: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (wheels_check.ROOT / "README.md").write_text(README, "utf-8")
    nowhere = ["--no-index", "--find-links", str(wheels_check.ROOT / "gone")]
    monkeypatch.setattr(wheels_check, "configured_index", lambda: nowhere)
    assert wheels_check.main() == UNASKED
    assert "can't be asked" in capsys.readouterr().err


def test_the_readme_names_every_computer_once() -> None:
    said = wheels_check.promised(README)
    assert list(said) == [computer.name for computer in COMPUTERS]
    assert set(said.values()) == {ALL, WITHOUT, NONE}
    with pytest.raises(ValueError, match="Intel Macs"):
        wheels_check.promised(README.replace("Intel Macs", "old Macs"))


def test_a_difference_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = wheels_check.promised(README)
    answers = dict(said)
    monkeypatch.setattr(wheels_check, "found", lambda computer, *_: (answers[computer.name], ""))
    monkeypatch.setattr(wheels_check, "configured_index", list)
    assert wheels_check.main() == 0
    answers["Windows x64"] = WITHOUT
    assert wheels_check.main() == DIFFERENT
    assert "README.md says: all of it" in capsys.readouterr().out


def test_a_source_distribution_alone_is_told_as_well() -> None:
    complaint = "cause: Because grpcio==1.85.1 has no usable wheels and text2image depends on it"
    assert wheels_check.reason(complaint) == "no wheel of grpcio"
