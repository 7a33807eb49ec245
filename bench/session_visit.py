"""The visit of a demo session: guests, onlookers and a wall, each with connections of its own."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import psutil

from bench.session_figures import Load, Measured

BURSTS = 4
ONLOOKER_S = 0.025  # between two onlookers who come
PROMPTS = ("a red apple", "a purple mushroom", "a rocket", "cat face", "a birthday cake", "frog")
PREVIEW = re.compile(r'"data:image/jpeg;base64,[^"]*"')
# No connection is used twice: httpx does not notice, as browsers do, that the server closed one.
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=0)
SAMPLE_S = 0.5
LAG_S = 0.05
RETRY_S = 2.0  # as the pages wait


class Visit:
    """One load against one session."""

    def __init__(self, url: str, code: str, load: Load, pid: int) -> None:
        self._url, self._code, self._load = url, code, load
        self._studio = psutil.Process(pid)
        self._done = asyncio.Event()
        self._made_at: dict[str, float] = {}  # as the wall saw it
        self._started = time.perf_counter()
        self.measured = Measured()

    async def run(self) -> Measured:
        """Let everybody in, and wait until all have their pictures, or the time is up."""
        before = self._studio.cpu_times()
        self._started = time.perf_counter()
        beside = (self._wall(), self._watch_studio(), self._watch_lag(), self._report())
        tasks = [asyncio.create_task(work) for work in beside]
        tasks += [asyncio.create_task(self._idle(n)) for n in range(self._load.idle)]
        guests = [asyncio.create_task(self._guest(n)) for n in range(self._load.guests)]
        try:
            async with asyncio.timeout(self._load.timeout_s):
                await asyncio.gather(*guests)
                await self._until_on_the_wall()
        except TimeoutError:
            self.measured.timed_out = True
        after = self._studio.cpu_times()
        self.measured.wall_s = self._elapsed()
        self.measured.cpu_s = after.user + after.system - before.user - before.system
        self._done.set()
        for task in (*tasks, *guests):
            task.cancel()
        await asyncio.gather(*tasks, *guests, return_exceptions=True)
        return self.measured

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started

    async def _report(self) -> None:
        """Print how far it is, where the load asks for it."""
        while self._load.report_s:
            await asyncio.sleep(self._load.report_s)
            seen = self.measured
            print(
                f"{self._elapsed():5.0f} s: {len(self._made_at)} of "
                f"{self._load.guests * self._load.pictures} made, {seen.idle_open} onlookers, "
                f"on the wall after {max(seen.wall_delays, default=0):.2f} s at most, "
                f"lag {seen.lag_s:.2f} s, studio {seen.memory_mb:.0f} MB",
                flush=True,
            )

    async def _watch_lag(self) -> None:
        """How late this program itself is: it plays all the phones, and delays what they see."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(LAG_S)
            self.measured.lag_s = max(self.measured.lag_s, time.perf_counter() - began - LAG_S)

    def _client(self) -> httpx.AsyncClient:
        # Without certificates and settings to read, 600 clients are made in no time.
        return httpx.AsyncClient(
            base_url=self._url, timeout=120, limits=LIMITS, verify=False, trust_env=False
        )

    async def _guest(self, number: int) -> None:
        await asyncio.sleep(number * BURSTS // self._load.guests * self._load.burst_s)
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
        """Come in; where the connection breaks, again, as a person would."""
        while True:
            async for name, data in self._lasting(phone, "guest"):
                if name == "state":
                    sent = {"code": self._code, "nickname": f"Guest {number}", "consents": True}
                    sent["invitation"] = data["invitation"]
                    with suppress(httpx.TransportError):
                        (await phone.post("/s/join", json=sent)).raise_for_status()
                        return
                    break

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
            while not self._done.is_set():
                async for name, data in self._lasting(screen, "wall", is_wall=True):
                    if name == "state":
                        self._notice(data["pictures"])

    def _notice(self, pictures: list[dict[str, Any]]) -> None:
        now = time.time()
        for picture in pictures:
            if picture["id"] not in self._made_at:
                self._made_at[picture["id"]] = now
                self.measured.wall_delays.append(now - picture["at"] / 1000)

    async def _until_on_the_wall(self) -> None:
        while len(self._made_at) < self._load.guests * self._load.pictures:
            await asyncio.sleep(0.05)

    async def _idle(self, number: int) -> None:
        """Somebody who has joined, and only looks."""
        await asyncio.sleep(number * ONLOOKER_S)
        async with self._client() as phone:
            await self._join(phone, number)
            while not self._done.is_set():
                is_open = False
                try:
                    async for _ in self._lasting(phone, "guest"):
                        if not is_open:
                            is_open = True
                            self.measured.idle_open += 1
                finally:
                    if is_open and not self._done.is_set():
                        self.measured.idle_open -= 1

    async def _watch_studio(self) -> None:
        while True:
            used = self._studio.memory_info().rss / 2**20
            self.measured.memory_mb = max(self.measured.memory_mb, used)
            await asyncio.sleep(SAMPLE_S)

    async def _lasting(
        self, phone: httpx.AsyncClient, kind: str, *, is_wall: bool = False
    ) -> AsyncIterator[tuple[str, Any]]:
        """The same, ending where the connection breaks."""
        try:
            async for found in self._events(phone, kind, is_wall=is_wall):
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
