"""The LRU cache of what takes long to build."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from backend.lru_cache import LruCache, Sized


class Builder:
    """Builds values for a cache, and remembers which."""

    def __init__(self, cache: LruCache[str, str], num_bytes: int = 10) -> None:
        self._cache = cache
        self._num_bytes = num_bytes
        self.built: list[str] = []

    def get(self, key: str, num_bytes: int | None = None) -> str:
        def build() -> Sized[str]:
            self.built.append(key)
            return Sized(f"built {key}", num_bytes or self._num_bytes)

        return self._cache.get(key, build)


def test_a_value_is_built_once() -> None:
    builder = Builder(LruCache(100))
    assert [builder.get("a"), builder.get("a")] == ["built a"] * 2
    assert builder.built == ["a"]


def test_the_least_recently_used_is_evicted() -> None:
    evicted: list[str] = []
    builder = Builder(LruCache(30, on_evict=evicted.append))
    for key in ("a", "b", "c", "a", "d"):
        builder.get(key)
    assert evicted == ["built b"]
    builder.built.clear()
    for key in ("a", "c", "d"):
        builder.get(key)
    assert builder.built == []
    builder.get("b")
    assert builder.built == ["b"]


def test_a_large_value_evicts_several_and_a_small_one_none() -> None:
    cache = LruCache[str, str](100)
    builder = Builder(cache)
    for key, num_bytes in (("text", 10), ("unet", 70), ("decoder", 10)):
        builder.get(key, num_bytes)
    builder.get("text")
    builder.get("another unet", 70)
    assert cache.num_bytes == 90
    builder.built.clear()
    for key in ("text", "decoder", "another unet"):
        builder.get(key)
    assert builder.built == []


def test_the_latest_stays_even_if_it_exceeds_the_budget() -> None:
    cache = LruCache[str, str](5)
    builder = Builder(cache, 50)
    for key in ("a", "b", "b"):
        assert builder.get(key) == f"built {key}"
    assert builder.built == ["a", "b"]
    assert cache.num_bytes == 50


def test_the_number_of_values_is_limited() -> None:
    builder = Builder(LruCache(10**9, max_values=3))
    for key in "0123":
        builder.get(key)
    builder.built.clear()
    builder.get("1")
    builder.get("0")
    assert builder.built == ["0"]


@pytest.mark.parametrize("limits", [(10, None), (100, 1)])
def test_room_can_be_made_before_the_next_is_built(limits: tuple[int, int | None]) -> None:
    cache, gone = LruCache[str, object](*limits), []

    class Large:
        def __del__(self) -> None:
            gone.append("a")

    def build() -> Sized[object]:
        assert not gone
        cache.make_room(10)
        assert gone == ["a"]
        return Sized("b", 10)

    cache.get("a", lambda: Sized(Large(), 10))
    assert cache.get("b", build) == "b"


def test_what_is_dropped_is_built_again() -> None:
    cache = LruCache[str, str](100)
    builder = Builder(cache)
    for key in ("own unet", "unet"):
        builder.get(key)
    cache.drop(lambda key: key.startswith("own"))
    assert cache.num_bytes == 10
    for key in ("unet", "own unet"):
        builder.get(key)
    assert builder.built == ["own unet", "unet", "own unet"]


def test_threads_that_want_the_same_value_build_it_once() -> None:
    cache, built = LruCache[str, str](100), []
    together = threading.Barrier(4)

    def build() -> Sized[str]:
        built.append("a")
        time.sleep(0.1)
        return Sized("a", 1)

    def ask(_: int) -> str:
        together.wait()
        return cache.get("a", build)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == ["a"] * 4
    assert built == ["a"]


def test_a_value_in_the_cache_does_not_wait_for_anothers_build() -> None:
    cache = LruCache[str, str](100)
    cache.get("a", lambda: Sized("a", 1))

    def build() -> Sized[str]:
        with ThreadPoolExecutor(1) as pool:
            known = pool.submit(cache.get, "a", lambda: Sized("never", 1)).result(10)
        return Sized(f"b beside {known}", 1)

    assert cache.get("b", build) == "b beside a"


def test_a_value_that_could_not_be_built_can_be_asked_for_again() -> None:
    cache = LruCache[str, str](100)

    def fail() -> Sized[str]:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cache.get("a", fail)
    assert cache.get("a", lambda: Sized("a", 1)) == "a"
