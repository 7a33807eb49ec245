"""Files are replaced as a whole, however many write them at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ui.storage.whole import write_whole

SIZE = 10_000
TIMES = 50


def test_many_write_at_once_and_every_reader_finds_a_whole_value(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    write_whole(path, b"0" * SIZE)
    done = threading.Event()
    seen: set[bytes] = set()

    def write(letter: bytes) -> None:
        for _ in range(TIMES):
            write_whole(path, letter * SIZE, durable=False)

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    with ThreadPoolExecutor(5) as pool:
        reader = pool.submit(read)
        writers = [pool.submit(write, letter) for letter in (b"a", b"b", b"c", b"d")]
        for writer in writers:
            writer.result()
        done.set()
        reader.result()
    assert all(len(found) == SIZE and len(set(found)) == 1 for found in seen)
    assert [file.name for file in tmp_path.iterdir()] == ["note.json"]
