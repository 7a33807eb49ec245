"""A stuck step is detected and reported; the service recovers or the process exits."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator

import pytest

from backend.domain import State
from backend.engine import watchdog
from backend.engine.cost import CostModel
from backend.engine.watchdog import EXIT_STUCK, LEAST_S, UNMEASURED_S, Watchdog
from backend.errors import Stuck
from tests.support.fakes import FakeModel, Gate, images_of, loads
from tests.support.local_backend import answer, ask, first_event, serving
from tests.support.served import until

BOUND_S = 0.4


class TestBound:
    @pytest.mark.parametrize(
        ("expected_ms", "bound_s"),
        [(1.0, LEAST_S), (3000.0, 60.0), (None, UNMEASURED_S)],
    )
    def test_it_follows_from_the_predicted_cost(
        self, expected_ms: float | None, bound_s: float
    ) -> None:
        now = [100.0]
        dog = Watchdog(lambda: now[0])
        with dog.watch("A step", expected_ms):
            now[0] += bound_s
            assert dog.overdue_s == 0
            now[0] += 1
            assert dog.overdue_s == 1
            assert dog.complaint.startswith(f"A step has been running for {bound_s + 1:.0f} s")
        assert dog.overdue_s == 0

    def test_work_that_fails_is_over(self) -> None:
        now = [0.0]
        dog = Watchdog(lambda: now[0])
        with pytest.raises(ValueError, match="broken"), dog.watch("A step", 1.0):
            raise ValueError("broken")
        now[0] = 1000
        assert dog.overdue_s == 0


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LEAST_S", BOUND_S)
    monkeypatch.setattr(watchdog, "LOOK_EVERY_S", 0.05)


@pytest.mark.usefixtures("_impatient")
class TestStuck:
    async def test_it_is_named_and_recovers(self) -> None:
        gate = Gate()
        async with serving(FakeModel(gate=gate), stuck_exit_s=0) as backend:
            running = asyncio.create_task(answer(backend))
            await until(lambda: backend.status().state is State.STUCK, 30)
            assert not backend.is_ready
            message = backend.status().message
            assert message.startswith("A step of 2 rows of 64 × 64 pixels has been running for")
            assert "about 0.001 s were expected" in message
            with pytest.raises(Stuck, match="A step of 2 rows"):
                await first_event(ask(backend))
            gate.open()
            assert len(images_of(await running)) == 1
            await until(lambda: backend.is_ready, 30)
            assert len(images_of(await answer(backend))) == 1

    async def test_what_was_never_measured_has_time(self) -> None:
        gate = Gate()
        model = FakeModel(gate=gate)
        async with serving(model, loads(model, CostModel())) as backend:
            running = asyncio.create_task(answer(backend))
            await asyncio.sleep(3 * BOUND_S)
            assert backend.is_ready
            gate.open()
            await running

    async def test_idleness_is_no_fault(self) -> None:
        async with serving() as backend:
            await answer(backend)
            await asyncio.sleep(2 * BOUND_S)
            assert backend.is_ready

    async def test_the_process_ends_for_its_supervisor(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        exits: list[int] = []
        monkeypatch.setattr(os, "_exit", exits.append)
        gate = Gate()
        async with serving(FakeModel(gate=gate), stuck_exit_s=0.2) as backend:
            running = asyncio.create_task(answer(backend))
            await until(lambda: exits, 30)
            assert exits[0] == EXIT_STUCK
            gate.open()
            await running

    async def test_a_stop_does_not_wait_for_what_is_stuck(self) -> None:
        gate = Gate()
        async with serving(FakeModel(gate=gate), stuck_exit_s=0) as backend:
            running = asyncio.create_task(answer(backend))
            await until(lambda: backend.status().state is State.STUCK, 30)
            async with asyncio.timeout(20):
                await backend.stop()
            running.cancel()
            gate.open()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    end = time.monotonic() + 30
    while any(thread.name == "engine" for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.02)
