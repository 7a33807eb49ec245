"""The disk cache: atomic, valid for one make, and never raising."""

from __future__ import annotations

import errno
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backend.disk_cache import DiskCache


@dataclass(frozen=True)
class Kept:
    name: str
    numbers: dict[int, float]


KEPT = Kept("a", {1: 0.1, 20: 2.5})


def cache(folder: Path, **make: str) -> DiskCache[Kept]:
    return DiskCache(folder, "things", {"version": "1"} | make, Kept)


def test_a_value_comes_back_as_it_was(tmp_path: Path) -> None:
    cache(tmp_path).save(KEPT)
    assert cache(tmp_path).load() == KEPT


def test_numbers_without_end_come_back_as_they_were(tmp_path: Path) -> None:
    """Configurations of noise schedulers have them, and JSON proper does not."""

    def config() -> DiskCache[dict[str, Any]]:
        return DiskCache(tmp_path, "config", {}, dict[str, Any])

    config().save({"lambda_min_clipped": -math.inf, "steps": [1, 2]})
    assert config().load() == {"lambda_min_clipped": -math.inf, "steps": [1, 2]}


def test_nothing_was_kept_for_another_make(tmp_path: Path) -> None:
    cache(tmp_path).save(KEPT)
    assert cache(tmp_path, version="2").load() is None


def test_a_file_of_another_make_under_the_same_name_is_not_taken(tmp_path: Path) -> None:
    cache(tmp_path).save(KEPT)
    path = cache(tmp_path).path
    path.write_text(
        path.read_text("utf-8").replace('"version": "1"', '"version": "2"'), encoding="utf-8"
    )
    assert cache(tmp_path).load() is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[1]",
        b"\xff",
        b'{"make": {"version": "1"}, "value": 3}',
        b'{"make": {"version": "1"}, "value": {"name": "a", "numbers": {"x": 1}}}',
    ],
)
def test_garbage_counts_as_nothing_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    ours = cache(tmp_path)
    ours.save(KEPT)
    ours.path.write_bytes(content)
    assert ours.load() is None
    ours.save(KEPT)
    assert ours.load() == KEPT


def test_a_folder_that_can_not_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "things").touch()
    cache(tmp_path).save(KEPT)
    assert "can't be kept" in caplog.text
    assert cache(tmp_path).load() is None


def test_a_value_that_json_can_not_hold_leaves_the_last_one(tmp_path: Path) -> None:
    ours = cache(tmp_path)
    ours.save(KEPT)
    ours.save(Kept("b", {1: object()}))  # type: ignore[dict-item]
    assert ours.load() == KEPT
    assert [path.name for path in ours.path.parent.iterdir()] == [ours.path.name]
    assert json.loads(ours.path.read_text("utf-8"))["make"] == {"version": "1"}


def test_many_may_save_at_once_and_every_reader_finds_a_whole_value(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache(tmp_path).save(KEPT)

    def save(number: int) -> None:
        cache(tmp_path).save(Kept("x" * 1000 * number, {}))

    with ThreadPoolExecutor(4) as pool:
        saving = [pool.submit(save, number % 9) for number in range(200)]
        while not all(future.done() for future in saving):
            assert cache(tmp_path).load() is not None
    assert caplog.text == ""
    assert len(list(tmp_path.rglob("*.*"))) == 1


def test_a_full_disk_leaves_the_older_value_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    cache(tmp_path).save(KEPT)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        cache(tmp_path).save(Kept("b", {}))
    assert cache(tmp_path).load() == KEPT
    assert "No space left" in caplog.text
    assert len(list(tmp_path.rglob("*.*"))) == 1


def test_drafts_of_a_killed_process_do_not_stay(tmp_path: Path) -> None:
    cache(tmp_path).save(KEPT)
    old, young = (tmp_path / "things" / f"{name}.json.new" for name in ("old", "young"))
    for draft in (old, young):
        draft.write_text("half", encoding="utf-8")
    os.utime(old, (0, 0))
    cache(tmp_path).save(KEPT)
    assert young.exists()
    assert not old.exists()
