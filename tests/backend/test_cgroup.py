"""Limits of pretended control groups: containers of both versions, nested services, none."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from backend import cgroup
from backend.model.memory import machine_bytes
from backend.resources import ResourceReader

GIB = 1 << 30
UNLIMITED_V1 = 9223372036854771712


class Groups:
    """A pretended /sys/fs/cgroup and /proc/self/cgroup."""

    def __init__(self, folder: Path) -> None:
        self.root, self.mine = folder / "cgroup", folder / "self"

    def joined(self, line: str) -> Groups:
        self.mine.write_text(f"3:cpu:/elsewhere\n{line}\n", "utf-8")
        return self

    def v2(self, path: str, limit: str, used: int = 0, droppable: int = 0) -> Groups:
        return self._write(self.root / path, cgroup.V2, limit, used, droppable)

    def v1(self, path: str, limit: int, used: int = 0, droppable: int = 0) -> Groups:
        return self._write(self.root / "memory" / path, cgroup.V1, str(limit), used, droppable)

    def _write(
        self, folder: Path, version: cgroup._Version, limit: str, used: int, droppable: int
    ) -> Groups:
        folder.mkdir(parents=True, exist_ok=True)
        stat = f"anon 7\n{version.droppable} {droppable}\nfile 9"
        for name, text in ((version.limit, limit), (version.usage, used), ("memory.stat", stat)):
            (folder / name).write_text(f"{text}\n", "ascii")
        return self

    @property
    def memory(self) -> cgroup.Memory | None:
        return cgroup.memory(self.root, self.mine)


@pytest.fixture
def groups(tmp_path: Path) -> Groups:
    return Groups(tmp_path)


def test_a_container_is_its_own_root(groups: Groups) -> None:
    groups.joined("0::/").v2("", str(4 * GIB), used=3 * GIB, droppable=GIB)
    assert groups.memory == (4 * GIB, 2 * GIB)


def test_the_tightest_of_the_groups_around_a_service_counts(groups: Groups) -> None:
    groups.joined("0::/system.slice/text2image.service")
    groups.v2("system.slice/text2image.service", "max", used=1)
    groups.v2("system.slice", str(2 * GIB), used=GIB)
    assert groups.memory == (2 * GIB, GIB)


def test_version_1_where_the_path_is_the_hosts(groups: Groups) -> None:
    groups.joined("4:memory,hugetlb:/docker/0123abcd").v1("", 2 * GIB, used=GIB, droppable=GIB // 4)
    assert groups.memory == (2 * GIB, GIB - GIB // 4)


def test_the_rest_is_told_where_statistics_are_missing(groups: Groups) -> None:
    groups.joined("0::/").v2("", str(4 * GIB), used=GIB)
    (groups.root / "memory.stat").unlink()
    assert groups.memory == (4 * GIB, GIB)


@pytest.mark.parametrize("limit", ["max", "", "nonsense"])
def test_without_a_limit_there_is_none(groups: Groups, limit: str) -> None:
    assert groups.memory is None  # no control groups, as on macOS
    groups.joined("0::/").v2("", limit)
    assert groups.memory is None


def tell(monkeypatch: pytest.MonkeyPatch, groups: Groups) -> None:
    found = groups.memory
    monkeypatch.setattr(cgroup, "memory", lambda: found)


def test_the_status_tells_the_containers_memory(
    groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(monkeypatch, groups.joined("0::/").v2("", str(GIB // 2), used=GIB // 4))
    resources = ResourceReader().read()
    assert resources.system_memory_bytes == machine_bytes() == GIB // 2
    assert resources.system_memory_used_bytes == GIB // 4


def test_a_limit_above_the_machines_memory_is_none(
    groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(monkeypatch, groups.joined("4:memory:/").v1("", UNLIMITED_V1, used=1))
    total = psutil.virtual_memory().total
    assert ResourceReader().read().system_memory_bytes == machine_bytes() == total
