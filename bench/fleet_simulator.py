"""The front's queue over up to 1,000 equal replicas, by a clock of its own, with the real policy.

`python -m bench.fleet_simulator` prints waits, and what a decision costs the front.
"""

from __future__ import annotations

import heapq
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from backend.cluster.line import Line
from backend.engine.cost import CostModel
from backend.engine.request import Request
from bench.simulator import cost_model, mix, small_model

REPLICAS = (1, 10, 100, 1000)
LOADS = (0.7, 0.9, 1.1)
PER_REPLICA = 10  # requests
MAX_QUEUE = 1000
LEAST_REQUESTS = 600


@dataclass
class Outcome:
    waits_s: list[float] = field(default_factory=list)
    refused: int = 0
    decision_s: float = 0.0  # of the front's own processor
    decisions: int = 0


def simulate(requests: list[Request], replicas: int, cost: CostModel, max_queue: int) -> Outcome:
    """Each replica draws one request at a time; the line decides which is next."""
    now_s = 0.0
    line = Line(max_queue, 0, lambda: now_s)
    line.cost.adopt(cost)
    line.speed = float(replicas)
    found, ends = Outcome(), list[float]()
    coming = iter(requests)
    following = next(coming, None)
    while following is not None or len(line) or ends:
        if following is not None and (not ends or following.arrived_s <= ends[0]):
            now_s = following.arrived_s
            if len(line) < max_queue:
                line.put_back(following)
            else:
                found.refused += 1
            following = next(coming, None)
        else:
            now_s = heapq.heappop(ends)
        began_s = time.perf_counter()
        for request in handed(line, replicas - len(ends)):
            found.waits_s.append(now_s - request.arrived_s)
            heapq.heappush(ends, now_s + cost.request_ms(request) / 1000)
        found.decision_s += time.perf_counter() - began_s
        found.decisions += 1
    return found


def handed(line: Line, free: int) -> Iterator[Request]:
    """The next requests for the free replicas."""
    while free > 0 and len(line):
        request = next(iter(line))
        line.take(request)
        free -= 1
        yield request


def main() -> None:
    print("| replicas | load | wait p50 | p99 | refused | a decision |")
    print("| --- | --- | --- | --- | --- | --- |")
    for replicas in REPLICAS:
        for load in LOADS:
            cost = cost_model(small_model, 16)
            count = max(LEAST_REQUESTS, PER_REPLICA * replicas)
            requests = mix(count, load * replicas, cost, seed=1, clients=20)
            found = simulate(requests, replicas, cost, MAX_QUEUE)
            waits = sorted(found.waits_s)
            p99 = waits[int(0.99 * len(waits))]
            print(
                f"| {replicas:,} | {load} | {statistics.median(waits):.2f} s | {p99:.1f} s "
                f"| {found.refused} | {1e6 * found.decision_s / found.decisions:.0f} µs |",
                flush=True,
            )


if __name__ == "__main__":
    main()
