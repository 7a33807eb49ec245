"""A demo session under load: guests over real connections, against the real backend.

`python -m bench.sessions` (`make bench-sessions`) starts backend and studio, lets guests arrive in
bursts, ask and watch, and prints what docs/demo-sessions.md tells. Exits with 1 where a budget is
missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import create_engine

from bench.session_figures import Load, Measured
from tests.e2e.processes import Backend, Studio
from ui.identity import load_signer
from ui.sessions.rules import Rules
from ui.sessions.sessions import Sessions
from ui.sessions.store import Store
from ui.storage.database import prepare
from ui.storage.files import PictureFiles
from ui.storage.gallery import Gallery

BURSTS = 4
BURST_S = 2.0
PROMPTS = ("a red apple", "a purple mushroom", "a rocket", "cat face", "a birthday cake", "frog")
PREVIEW = re.compile(r'"data:image/jpeg;base64,[^"]*"')
# No connection is used twice: httpx does not notice, as browsers do, that the server closed one.
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=0)
SAMPLE_S = 0.5
RETRY_S = 2.0  # as the pages wait


class Visit:
    """One load against one session."""

    def __init__(self, url: str, code: str, load: Load, pid: int) -> None:
        self._url, self._code, self._load = url, code, load
        self._studio = psutil.Process(pid)
        self._done = asyncio.Event()
        self._made_at: dict[str, float] = {}  # as the wall saw it
        self.measured = Measured()

    async def run(self) -> Measured:
        """Let everybody in, and wait until all have their pictures."""
        before = self._studio.cpu_times()
        started = time.perf_counter()
        others = [asyncio.create_task(work) for work in (self._wall(), self._watch_memory())]
        others += [asyncio.create_task(self._idle()) for _ in range(self._load.idle)]
        async with asyncio.timeout(self._load.timeout_s):
            await asyncio.gather(*(self._guest(n) for n in range(self._load.guests)))
            await self._until_on_the_wall()
        after = self._studio.cpu_times()
        self.measured.wall_s = time.perf_counter() - started
        self.measured.cpu_s = after.user + after.system - before.user - before.system
        self._done.set()
        for task in others:
            task.cancel()
        for task in others:
            with suppress(asyncio.CancelledError):
                await task
        return self.measured

    def _client(self) -> httpx.AsyncClient:
        # Without certificates to verify, 600 clients are made in no time.
        return httpx.AsyncClient(base_url=self._url, timeout=120, limits=LIMITS, verify=False)

    async def _guest(self, number: int) -> None:
        await asyncio.sleep(number * BURSTS // self._load.guests * BURST_S)
        async with self._client() as phone:
            await self._join(phone, number)
            asked: dict[str, float] = {}
            for picture in range(self._load.pictures):
                prompt = PROMPTS[(number + picture) % len(PROMPTS)]
                answer = await phone.post("/s/ask", json={"code": self._code, "prompt": prompt})
                answer.raise_for_status()
                asked[answer.json()["ids"][0]] = time.perf_counter()
            waits = await self._watch_own(phone, asked, leaves=number < self._load.leaving)
            self.measured.waits.append(list(waits.values()))
            for picture_id in asked:
                await self._fetch(phone, picture_id)

    async def _join(self, phone: httpx.AsyncClient, number: int) -> None:
        async for name, data in self._events(phone, "guest"):
            if name == "state":
                sent = {"code": self._code, "nickname": f"Guest {number}", "consents": True}
                sent["invitation"] = data["invitation"]
                (await phone.post("/s/join", json=sent)).raise_for_status()
                return

    async def _watch_own(
        self, phone: httpx.AsyncClient, asked: dict[str, float], *, leaves: bool
    ) -> dict[str, float]:
        """Seconds from asking to having, by picture; some lose their connection once."""
        waits: dict[str, float] = {}
        while len(waits) < len(asked):
            async for name, data in self._lasting(phone, "guest"):
                if name == "state":
                    for picture in data["pictures"]:
                        if picture["state"] == "made" and picture["id"] not in waits:
                            waits[picture["id"]] = time.perf_counter() - asked[picture["id"]]
                        elif picture["state"] in ("failed", "withheld", "cancelled"):
                            raise RuntimeError(f"a picture was lost: {picture}")
                if len(waits) == len(asked) or (leaves and waits):
                    leaves = False
                    break
        return waits

    async def _fetch(self, phone: httpx.AsyncClient, picture_id: str) -> None:
        answer = await phone.get(f"/s/picture/{picture_id}/full?code={self._code}")
        answer.raise_for_status()
        self.measured.delivered += answer.content.startswith(b"\x89PNG")

    async def _wall(self) -> None:
        async with self._client() as screen:
            async for name, data in self._events(screen, "wall", is_wall=True):
                if name == "state":
                    now = time.time()
                    for picture in data["pictures"]:
                        if picture["id"] not in self._made_at:
                            self._made_at[picture["id"]] = now
                            self.measured.wall_delays.append(now - picture["at"] / 1000)

    async def _until_on_the_wall(self) -> None:
        while len(self._made_at) < self._load.guests * self._load.pictures:
            await asyncio.sleep(0.05)

    async def _idle(self) -> None:
        """Somebody who has joined, and only looks."""
        async with self._client() as phone:
            await self._join(phone, 0)
            while not self._done.is_set():
                is_open = False
                try:
                    async for _ in self._events(phone, "guest"):
                        if not is_open:
                            is_open = True
                            self.measured.idle_open += 1
                except httpx.TransportError:
                    await asyncio.sleep(RETRY_S)
                finally:
                    if is_open and not self._done.is_set():
                        self.measured.idle_open -= 1

    async def _watch_memory(self) -> None:
        while True:
            used = self._studio.memory_info().rss / 2**20
            self.measured.memory_mb = max(self.measured.memory_mb, used)
            await asyncio.sleep(SAMPLE_S)

    async def _lasting(self, phone: httpx.AsyncClient, kind: str) -> AsyncIterator[tuple[str, Any]]:
        """The same, ending where the connection breaks."""
        try:
            async for found in self._events(phone, kind):
                yield found
        except httpx.TransportError:
            await asyncio.sleep(RETRY_S)

    async def _events(
        self, phone: httpx.AsyncClient, kind: str, *, is_wall: bool = False
    ) -> AsyncIterator[tuple[str, Any]]:
        """One stream until it breaks: the callers come back, as an EventSource does."""
        async with phone.stream("GET", f"/s/events/{kind}?code={self._code}") as answer:
            answer.raise_for_status()
            name = ""
            async for line in answer.aiter_lines():
                if is_wall:
                    self.measured.wall_bytes += len(PREVIEW.sub("", line).encode()) + 1
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield name, json.loads(line.removeprefix("data: "))


def visit(url: str, code: str, load: Load, pid: int) -> Measured:
    """Put the load on a running studio's session; `pid` is the studio's process."""

    async def run() -> Measured:
        return await Visit(url, code, load, pid).run()

    return asyncio.run(run())


def prepare_session(data_dir: Path, rules: Rules) -> str:
    """A session for the studio that will start in this folder; returns its code."""
    engine = create_engine(f"sqlite:///{data_dir / 'gallery.db'}")
    prepare(engine)
    store = Store(engine, load_signer(data_dir).secret_for("sessions of this studio"))
    gallery = Gallery(engine, PictureFiles(data_dir / "pictures"), 10**9)
    room = Sessions(store, gallery).start("b-bench", "Bench", "", rules, 600)
    engine.dispose()
    return room.session.code


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description="Put a demo session under load.")
    parser.add_argument("--guests", type=int, default=100)
    parser.add_argument("--pictures", type=int, default=3, help="for each guest")
    parser.add_argument("--idle", type=int, default=500, help="guests who only look")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--size", type=int, default=0, help="px; 0: the model's own")
    args = parser.parse_args(arguments)
    load = Load(args.guests, args.pictures, args.idle)
    sizes = ((args.size, args.size),) if args.size else ()
    rules = Rules(
        pictures_per_guest=args.pictures,
        per_minutes=0,
        max_waiting=load.guests * load.pictures,
        steps=args.steps,
        sizes=sizes,
    )
    with tempfile.TemporaryDirectory() as folder:
        backend = Backend(Path(folder))
        data_dir = Path(folder, "studio")
        data_dir.mkdir()
        code = prepare_session(data_dir, rules)
        studio = Studio(data_dir, backend.address)
        for process in (backend, studio):
            process.start()
        try:
            backend.wait_ready()
            studio.wait_ready()
            measured = visit(studio.url, code, load, studio.pid)
        finally:
            for process in (studio, backend):
                process.stop()
    print("\n".join(measured.lines()))
    problems = measured.problems(load)
    print("\n".join(f"MISSED: {problem}" for problem in problems))
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
