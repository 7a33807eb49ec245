"""The replicas: found or started, followed, replaced when lost, more or fewer of them by need."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from backend.cluster.autoscaler import Autoscaler
from backend.cluster.handle import Handle, Launcher, ReplicaLost
from backend.cluster.member import Member
from backend.cluster.replica import Report
from backend.cluster.summary import added
from backend.config import Settings
from backend.domain import Histogram, State
from backend.engine.jobs import Job
from backend.engine.request import Request

log = structlog.get_logger(__name__)

REPORT_EVERY_S = 0.5
SCALE_EVERY_S = 1.0
START_S = 600.0  # a new replica has so long to get a place and import its libraries
REPLACE_AFTER_S = (0.0, 1.0, 5.0, 30.0)  # by the number lost in a row before any was ready
PATIENCE = 0.5  # a full replica is waited for where it finishes in this part of a free one's time


class Fleet:
    """All methods are called on the event loop.

    `on_change` is called when a replica may take more; `on_lost` with the work of a lost one;
    `wait_s` tells the predicted wait of the last in the queue.
    """

    def __init__(
        self,
        settings: Settings,
        launcher: Launcher,
        on_change: Callable[[], None],
        on_lost: Callable[[list[Job]], None],
        wait_s: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._launcher = launcher
        self._on_change = on_change
        self._on_lost = on_lost
        self._wait_s = wait_s
        self._scaler = Autoscaler(
            settings.replicas, settings.most_replicas, settings.scale_up_s, settings.scale_down_s
        )
        self.front = uuid.uuid4().hex
        self.members: list[Member] = []
        self.gone: tuple[Histogram, ...] = ()  # of those that have left or were lost, added up
        self._lost_in_a_row = 0
        self._replacing = False
        self._tasks: set[asyncio.Task[None]] = set()

    # Beginning and end

    async def start(self) -> None:
        """Take over the replicas that live, and start those that are missing.

        Raises:
            ModelFailed: the cluster can't be reached or started.
        """
        await self._launcher.connect()
        for handle in await self._launcher.find():
            self._join(handle)
        await self._start_missing(self._settings.replicas)
        self._spawn(self._scale())

    async def stop(self) -> None:
        """Forget the replicas; on a cluster of its own they live on for the next front."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._launcher.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start_missing(self, wanted: int) -> None:
        while len(self.members) < wanted:
            self._join(await self._launcher.start())

    def _join(self, handle: Handle) -> None:
        log.info("replica", name=handle.name, state="joins")
        member = Member(handle)
        self.members.append(member)
        self._spawn(self._follow(member))

    # Following a replica

    async def _follow(self, member: Member) -> None:
        bound_s = START_S
        while member in self.members:
            try:
                async with asyncio.timeout(bound_s):
                    report = await member.handle.report(self.front)
                    await self._learn(member, report)
            except ReplicaLost as error:
                self.lose(member, str(error))
                return
            except TimeoutError:
                self.lose(member, f"no answer for {bound_s:g} s")
                return
            bound_s = self._settings.replica_timeout_s
            await asyncio.sleep(REPORT_EVERY_S)

    async def _learn(self, member: Member, report: Report) -> None:
        was_ready, member.report = member.is_ready, report
        if _names(report) != [(model.name, model.revision) for model in member.models]:
            member.models = await member.handle.describe()
        if member.is_ready and not was_ready:
            self._lost_in_a_row = 0
            log.info("replica", name=member.handle.name, state="ready")
        if member.work:
            member.idle_since_s = None
        elif member.idle_since_s is None:
            member.idle_since_s = time.perf_counter()
        self._on_change()

    def lose(self, member: Member, reason: str) -> None:
        """Give a replica up: its process is ended, its work goes to others."""
        if member not in self.members:
            return
        log.error("replica lost", name=member.handle.name, reason=reason, work=len(member.work))
        work = self._remove(member)
        pid = member.report.pid if member.report is not None else None
        self._spawn(member.handle.kill(pid))
        self._spawn(self._replace())
        self._on_lost(work)

    def _remove(self, member: Member) -> list[Job]:
        self.members.remove(member)
        if member.report is not None:
            self.gone = added(self.gone, member.report.status.histograms)
        work, member.work = [*member.work], {}
        return work

    async def _replace(self) -> None:
        if self._replacing:
            return
        self._replacing = True
        try:
            pause_s = REPLACE_AFTER_S[min(self._lost_in_a_row, len(REPLACE_AFTER_S) - 1)]
            self._lost_in_a_row += 1
            await asyncio.sleep(pause_s)
            await self._start_missing(self._settings.replicas)
        finally:
            self._replacing = False

    # More and fewer

    async def _scale(self) -> None:
        while True:
            await asyncio.sleep(SCALE_EVERY_S)
            now_s = time.perf_counter()
            stay = [member for member in self.members if not member.is_leaving]
            running = len(self.ready)
            wanted = self._scaler.wanted(
                now_s, running, len(stay) - running, self._wait_s() if running else 0.0
            )
            if wanted > len(stay) and len(stay) >= self._settings.replicas:
                log.info("scaling out", replicas=wanted)
                await self._start_missing(wanted)
            for member in stay:
                if self._scaler.is_spare(now_s, len(stay), member.idle_since_s):
                    self._let_go(member)
                    break

    def _let_go(self, member: Member) -> None:
        """Scale in: it takes nothing new and ends when it has nothing left to do."""
        log.info("scaling in", name=member.handle.name)
        member.is_leaving = True
        self._spawn(self._see_off(member))

    async def _see_off(self, member: Member) -> None:
        while member.work:
            await asyncio.sleep(REPORT_EVERY_S)
        if member in self.members:
            self._remove(member)
        await member.handle.leave()

    # Choosing

    @property
    def ready(self) -> list[Member]:
        return [member for member in self.members if member.is_ready]

    @property
    def has_room(self) -> bool:
        """Whether any replica might take a request now."""
        return any(member.has_room for member in self.ready)

    def best_for(self, request: Request) -> Member | None:
        """The replica that would finish first, of those that can take the request now.

        None also where a full one, far faster, would still finish before the free ones.
        """
        ready = self.ready
        free = [member for member in ready if member.can_take(request)]
        if not free:
            return None
        best = min(free, key=lambda member: member.end_ms(request))
        soonest_ms = min(member.end_ms(request) for member in ready)
        return None if soonest_ms < PATIENCE * best.end_ms(request) else best

    @property
    def busy_ms(self) -> float:
        """Predicted time until some replica is free."""
        return min((member.busy_ms for member in self.ready), default=0.0)

    def speed(self, height: int, width: int, model: str) -> float:
        """How many of the reference replica the ready ones are together."""
        times = [member.cost(model).step_ms(height, width, 2) for member in self.ready]
        return sum(times[0] / ms for ms in times) if times else 1.0

    @property
    def failure(self) -> str:
        """Why no replica can generate, where none ever will; else empty."""
        reports = [member.report for member in self.members]
        states = [report.status.state if report is not None else None for report in reports]
        if not states or any(state is not State.FAILED for state in states):
            return ""
        return next(report.status.message for report in reports if report is not None)


def _names(report: Report) -> list[tuple[str, str]]:
    return [(model.name, model.revision) for model in report.status.models]
