"""A discrete-event simulation of the engine: computes latencies for arrival traces.

Evaluates a change of the policy in seconds: `python -m bench.simulator` prints a table.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from backend.engine.cost import CostModel
from backend.engine.request import Request, Stage, Task
from backend.engine.scheduler import Decode, Encode, Scheduler, Work
from backend.errors import Exhausted
from backend.params import GenerationParams

SIZE = 256
STEP_MS = 100.0  # one guided step alone
DECODE_MS = 160.0


@dataclass
class FakeTrajectory:
    num_rows: int
    num_evaluations: int
    step_index: int = 0


@dataclass(frozen=True)
class Outcome:
    request: Request
    finished_s: float
    alone_s: float

    @property
    def latency_s(self) -> float:
        return self.finished_s - self.request.arrived_s

    @property
    def slowdown(self) -> float:
        return self.latency_s / self.alone_s


@dataclass
class Result:
    outcomes: list[Outcome] = field(default_factory=list)
    refused: list[Request] = field(default_factory=list)
    aborted: list[Request] = field(default_factory=list)
    work: list[tuple[float, Work]] = field(default_factory=list)
    busy_s: float = 0.0
    end_s: float = 0.0

    def latencies(self, client: str | None = None) -> list[float]:
        return [o.latency_s for o in self.outcomes if client in (None, o.request.client)]

    def share_within(self, slowdown: float) -> float:
        return sum(o.slowdown <= slowdown for o in self.outcomes) / len(self.outcomes)


def params(
    steps: int = 20,
    *,
    height: int = SIZE,
    width: int = SIZE,
    guidance_scale: float = 7.5,
    num_images: int = 1,
    scheduler: str = "ddim",
) -> GenerationParams:
    return GenerationParams(
        prompt="a red fox",
        height=height,
        width=width,
        guidance_scale=guidance_scale,
        num_inference_steps=steps,
        seed=0,
        scheduler=scheduler,
        model="m",
        num_images=num_images,
    )


def no_gain(rows: int) -> float:
    """A saturated machine: n rows cost n times one (a CPU, or a GPU at high resolution)."""
    return STEP_MS * rows / 2


def small_model(rows: int) -> float:
    """The 19 M parameter UNet in OpenVINO bf16, measured on two Zen 5 cores, in ms."""
    curve = {1: 12.5, 2: 13.0, 4: 15.0, 8: 28.0, 16: 49.0, 32: 106.0}
    return curve.get(rows) or _between(curve, rows)


def compiled_gpu(rows: int) -> float:
    """SD 1.5 at 512² on an A100, compiled (diffusers' torch2.0 table), in units of 100 ms."""
    curve = {1: 60.0, 2: 100.0, 8: 288.0, 32: 1062.0}
    return curve.get(rows) or _between(curve, rows)


def _between(curve: dict[int, float], rows: int) -> float:
    low = max(r for r in curve if r < rows)
    high = min(r for r in curve if r > rows)
    return curve[low] + (curve[high] - curve[low]) * (rows - low) / (high - low)


def cost_model(
    step: Callable[[int], float] = no_gain,
    cap: int = 2,
    sizes: Iterable[tuple[int, int]] = ((SIZE, SIZE),),
    certified: Iterable[int] | None = None,
) -> CostModel:
    """Costs proportional to the pixels; if `certified` is None, all row counts are."""
    cost = CostModel()
    if certified is not None:
        cost.certified = dict.fromkeys(sizes, frozenset(certified))
    for height, width in sizes:
        scale = height * width / SIZE**2
        cost.caps[height, width] = max(2, int(cap / scale))
        cost.decodes[height, width] = DECODE_MS * scale * step(2) / STEP_MS
        for rows in range(1, cap + 1):
            cost.steps[height, width, rows] = step(rows) * scale
    cost.encode = 0.0
    return cost


def simulate(
    requests: Sequence[Request],
    cost: CostModel,
    *,
    max_queue: int = 100_000,
    max_queue_per_client: int = 0,
    abort_at: dict[Request, float] | None = None,
    check: Callable[[Scheduler, float], None] | None = None,
    scheduler: Scheduler | None = None,
) -> Result:
    """Run the trace; requests are aborted at their deadlines and at `abort_at` seconds."""
    scheduler = scheduler or Scheduler(cost, max_queue, max_queue_per_client)
    arrivals = sorted(requests, key=lambda request: request.arrived_s)
    alone = {request: cost.request_ms(request) / 1000 for request in requests}
    leave_at = dict(abort_at or {})
    for request in requests:
        if request.deadline_at_s is not None:
            leave_at.setdefault(request, request.deadline_at_s)
    result = Result()
    now, coming = 0.0, 0
    present: dict[Request, None] = {}
    while coming < len(arrivals) or present:
        while coming < len(arrivals) and arrivals[coming].arrived_s <= now:
            request = arrivals[coming]
            coming += 1
            try:
                scheduler.add(request, now)
                present[request] = None
            except Exhausted:
                result.refused.append(request)
        for request in [r for r in present if leave_at.get(r, now + 1) <= now]:
            request.aborted = True
            scheduler.remove(request)
            del present[request]
            result.aborted.append(request)
        if check is not None:
            check(scheduler, now)
        work = scheduler.next_work(now)
        if work is None:
            assert not present, "not work-conserving"
            if coming < len(arrivals):
                now = max(now, arrivals[coming].arrived_s)
            continue
        result.work.append((now, work))
        ms = _run(work, cost)
        now += ms / 1000
        result.busy_s += ms / 1000
        for request in [r for r in present if r.is_finished]:
            scheduler.remove(request)
            del present[request]
            result.outcomes.append(Outcome(request, now, alone[request]))
    result.end_s = now
    return result


def _run(work: Work, cost: CostModel) -> float:
    if isinstance(work, Decode):
        work.task.stage = Stage.FINISHED
        height, width = work.task.request.batch_key[:2]
        return cost.decode_ms(height, width)
    if isinstance(work, Encode):
        work.task.source = "encoded"
        height, width = work.task.request.batch_key[:2]
        return cost.encode_picture_ms(height, width)
    height, width = work.tasks[0].request.batch_key[:2]
    rows = sum(task.num_rows for task in work.tasks)
    for task in work.tasks:
        _advance(task)
    return cost.step_ms(height, width, rows)


def _advance(task: Task) -> None:
    if task.stage is Stage.WAITING:
        task.trajectory = FakeTrajectory(task.num_rows, task.num_evaluations)
        task.stage = Stage.DENOISING
    assert isinstance(task.trajectory, FakeTrajectory)
    task.trajectory.step_index += 1
    if task.step_index == task.num_evaluations:
        task.stage = Stage.DECODING


def fifo(requests: Sequence[Request], cost: CostModel) -> Result:
    """The common baseline: one pipeline behind a lock."""
    result = Result()
    now = 0.0
    for request in sorted(requests, key=lambda r: r.arrived_s):
        alone = cost.request_ms(request) / 1000
        now = max(now, request.arrived_s) + alone
        result.outcomes.append(Outcome(request, now, alone))
    result.end_s = now
    return result


def mix(
    count: int,
    load: float,
    cost: CostModel,
    seed: int,
    *,
    sizes: Sequence[tuple[int, int]] = ((SIZE, SIZE),),
    clients: int = 1,
) -> list[Request]:
    """Poisson arrivals at `load` of the serial capacity.

    40 / 40 / 20 % have 8 / 20 / 50 steps, 15 % no guidance, 20 % another size than the first.
    """
    draw = random.Random(seed)
    requests = []
    for number in range(count):
        others = sizes[1:]
        height, width = draw.choice(others) if others and draw.random() < 0.2 else sizes[0]
        steps = draw.choices((8, 20, 50), (40, 40, 20))[0]
        guidance = 1.0 if draw.random() < 0.15 else draw.uniform(3, 12)
        wanted = params(steps, height=height, width=width, guidance_scale=guidance)
        client = f"client-{draw.randrange(clients)}"
        requests.append(Request(f"r{number}", client, wanted, 0.0))
    mean_s = sum(map(cost.request_ms, requests)) / count / 1000
    now = 0.0
    for request in requests:
        now += draw.expovariate(load / mean_s)
        request.arrived_s = now
    return requests


def main() -> None:
    """Print how the policy compares with first come, first served, as Markdown."""
    print("| costs | load | mean ÷ | p50 ÷ | p99 × | within 3 × alone | FIFO within 3 × |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for step, cap, load in (
        *((no_gain, 2, load) for load in (0.6, 0.8, 0.95, 1.2)),
        *((small_model, 16, load) for load in (0.6, 0.8, 0.95, 1.2)),
        *((compiled_gpu, 8, load) for load in (0.8, 1.2)),
    ):
        ours, theirs = Result(), Result()
        for seed in range(1, 6):
            cost = cost_model(step, cap)
            ours.outcomes += simulate(mix(400, load, cost, seed), cost).outcomes
            theirs.outcomes += fifo(mix(400, load, cost, seed), cost).outcomes
        new, old = sorted(ours.latencies()), sorted(theirs.latencies())
        p50, p99 = len(new) // 2, int(0.99 * len(new))
        print(
            f"| {step.__name__} | {load} | {sum(old) / sum(new):.2f} | {old[p50] / new[p50]:.2f} "
            f"| {new[p99] / old[p99]:.2f} | {ours.share_within(3):.0%} "
            f"| {theirs.share_within(3):.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
