"""The LRU cache of compiled networks."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from backend.model.memory import machine_bytes
from backend.model.openvino.network_cache import MOST, NetworkCache, budget


class Files:
    """Files of so many bytes, and what was compiled from them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.compiled: list[str] = []

    def get(self, networks: NetworkCache, key: str, num_bytes: int = 10) -> object:
        path = self._folder / f"{num_bytes}.xml"
        path.with_suffix(".bin").write_bytes(bytes(num_bytes))

        def compile(path: Path) -> object:
            self.compiled.append(key)
            return f"compiled {key}"

        return networks.get(key, lambda: path, compile)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A file of ten bytes."""
    path = tmp_path / "network.xml"
    path.with_suffix(".bin").write_bytes(bytes(10))
    return path


def test_a_network_is_compiled_once(files: Files) -> None:
    networks = NetworkCache(100)
    assert [files.get(networks, "a"), files.get(networks, "a")] == ["compiled a"] * 2
    assert files.compiled == ["a"]


def test_the_least_used_makes_room(files: Files) -> None:
    networks = NetworkCache(30)
    for key in ("a", "b", "c", "a", "d"):
        files.get(networks, key)
    files.compiled.clear()
    for key in ("a", "c", "d"):
        files.get(networks, key)
    assert files.compiled == []
    files.get(networks, "b")
    assert files.compiled == ["b"]


def test_a_large_network_makes_several_leave_and_a_small_one_none(files: Files) -> None:
    networks = NetworkCache(100)
    for key, num_bytes in (("text", 10), ("unet", 70), ("decoder", 10)):
        files.get(networks, key, num_bytes)
    files.get(networks, "text")
    files.get(networks, "another unet", 70)
    files.compiled.clear()
    for key in ("text", "decoder", "another unet"):
        files.get(networks, key)
    assert files.compiled == []


def test_room_is_made_before_and_not_after(network: Path) -> None:
    networks = NetworkCache(10)

    class Request:
        gone = False

        def __del__(self) -> None:
            Request.gone = True

    networks.get("a", lambda: network, lambda _: Request())
    assert not Request.gone
    assert networks.get("b", lambda: network, lambda _: Request.gone)


def test_one_that_exceeds_the_budget_is_compiled_all_the_same(files: Files) -> None:
    networks = NetworkCache(5)
    assert files.get(networks, "a", 50) == "compiled a"


def test_there_is_a_limit_to_their_number(files: Files) -> None:
    networks = NetworkCache(10**9)
    for number in range(MOST + 1):
        files.get(networks, str(number))
    files.compiled.clear()
    files.get(networks, "1")
    files.get(networks, "0")
    assert files.compiled == ["0"]


def test_threads_that_want_the_same_compile_it_once(network: Path) -> None:
    networks, compiled = NetworkCache(100), []
    together = threading.Barrier(4)

    def compile(_: Path) -> str:
        compiled.append("a")
        time.sleep(0.1)
        return "a"

    def ask(_: int) -> object:
        together.wait()
        return networks.get("a", lambda: network, compile)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == ["a"] * 4
    assert compiled == ["a"]


def test_one_that_fails_to_compile_can_be_asked_for_again(network: Path) -> None:
    networks = NetworkCache(100)

    def fail(_: Path) -> object:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        networks.get("a", lambda: network, fail)
    assert networks.get("a", lambda: network, lambda _: "a") == "a"


def test_the_budget_is_a_share_of_memory_and_what_one_picture_needs_at_least() -> None:
    assert budget(1_000_000, 10**10) == 4 * 10**9
    assert budget(1_000_000_000, 8 * 10**9) == 4 * 10**9


class TestMachineBytes:
    def test_a_container_may_have_less_than_the_machine(self, tmp_path: Path) -> None:
        limit = tmp_path / "memory.max"
        limit.write_text("123456789\n", encoding="utf-8")
        assert machine_bytes([tmp_path / "absent", limit]) == 123456789

    @pytest.mark.parametrize("text", ["max\n", "9223372036854771712\n", ""])
    def test_without_a_limit_it_is_the_machines(self, tmp_path: Path, text: str) -> None:
        limit = tmp_path / "memory.max"
        limit.write_text(text, encoding="utf-8")
        assert machine_bytes([limit]) == psutil.virtual_memory().total
