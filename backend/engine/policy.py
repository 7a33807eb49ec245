"""The order in which requests get the model.

Three rules: deadlines that bind now go first; then deficit round robin over clients; within a
round the shortest remaining time, with a bound on every request's slowdown.
"""

from __future__ import annotations

import heapq
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence

from backend.engine.cost import CostModel
from backend.engine.fair_share import FairShare
from backend.engine.request import Request

MAX_SLOWDOWN = 8.0  # (wait + remaining) / alone beyond which a request is overdue
OVERDUE_SHARE = 0.5  # of the model's time at most; with 1.0 the policy would become FIFO
QUANTUM = 4.0  # time per client and round, in median requests
PREDICTION_ERROR = 0.25  # assumed relative error of a predicted time
LONGEST_BORROWING = 1.0  # quanta of debt a client's deadlines may run up

Key = tuple[int, float, float]  # smaller goes first


class Policy:
    """Orders requests; `charge` reports who used the model."""

    def __init__(self, cost: CostModel) -> None:
        self._cost = cost
        self._shares = FairShare()
        self._alone_ms: dict[Request, float] = {}
        self._quantum_ms = 1.0
        self._served: frozenset[Request] = frozenset()
        self._overdue: frozenset[Request] = frozenset()
        self._overdue_used_ms = 0.0  # beyond OVERDUE_SHARE

    def add(self, request: Request) -> None:
        self._alone_ms[request] = self._cost.request_ms(request)
        self._reset_quantum()

    def remove(self, request: Request) -> None:
        self._alone_ms.pop(request, None)
        self._reset_quantum()

    def charge(self, shares: Sequence[tuple[Request, float]]) -> None:
        """Record that these requests are about to use the model, each for so many ms."""
        for request, ms in shares:
            self._shares.charge(request.client, ms, self._quantum_ms)
        self._served = frozenset(request for request, _ in shares)
        self._account_for_overdue(shares)

    def order(self, requests: Sequence[Request], now_s: float) -> Iterator[Request]:
        """`requests` in the order of service; lazy, since often only the first is needed."""
        self._shares.start_rounds({request.client for request in requests}, self._quantum_ms)
        if len(requests) == 1:  # a shortcut: for a small model the rest takes noticeable time
            self._overdue = frozenset()
            yield from requests
            return
        remaining = {request: self._cost.request_ms(request) for request in requests}
        self._overdue = frozenset(
            request
            for request in requests
            if (now_s - request.arrived_s) * 1000 + remaining[request]
            > MAX_SLOWDOWN * self._alone_ms[request]
        )
        keys = {request: self._key(request, remaining[request], now_s) for request in requests}
        yield from sorted((r for r in requests if keys[r][0] == BINDING), key=keys.__getitem__)
        normal = [request for request in requests if keys[request][0] in (OVERDUE, NORMAL)]
        yield from self._by_shares(normal, keys, remaining)
        yield from sorted((r for r in requests if keys[r][0] == HOPELESS), key=keys.__getitem__)

    def _account_for_overdue(self, shares: Sequence[tuple[Request, float]]) -> None:
        if not self._overdue:
            self._overdue_used_ms = 0.0
            return
        total = sum(ms for _, ms in shares)
        used = sum(ms for request, ms in shares if request in self._overdue)
        balance = self._overdue_used_ms + used - OVERDUE_SHARE * total
        self._overdue_used_ms = max(balance, -self._quantum_ms)

    def _key(self, request: Request, remaining_ms: float, now_s: float) -> Key:
        tie = request.arrived_s
        deadline = self._deadline_rank(request, remaining_ms, now_s)
        if deadline == BINDING:
            assert request.deadline_at_s is not None
            return BINDING, request.deadline_at_s, tie
        if deadline == HOPELESS:
            return HOPELESS, remaining_ms, tie
        if request in self._overdue and self._overdue_used_ms <= 0:
            return OVERDUE, tie, tie
        return NORMAL, remaining_ms - self._head_start_ms(request), tie

    def _deadline_rank(self, request: Request, remaining_ms: float, now_s: float) -> int:
        params = request.params
        if request.deadline_at_s is None or not self._cost.is_measured(params.height, params.width):
            return NORMAL
        slack_ms = (request.deadline_at_s - now_s) * 1000 - remaining_ms
        margin_ms = PREDICTION_ERROR * remaining_ms + self._step_ms(request)
        if slack_ms < -margin_ms:
            return HOPELESS
        if slack_ms > margin_ms or self._has_borrowed_too_much(request.client):
            return NORMAL
        return BINDING

    def _has_borrowed_too_much(self, client: str) -> bool:
        deficit = self._shares.deficit(client, self._quantum_ms)
        return deficit < -LONGEST_BORROWING * self._quantum_ms

    def _head_start_ms(self, request: Request) -> float:
        """A running request is preempted only by one shorter by more than a step."""
        return self._step_ms(request) if request in self._served else 0.0

    def _step_ms(self, request: Request) -> float:
        params = request.params
        return self._cost.step_ms(params.height, params.width, request.tasks[0].num_rows)

    def _by_shares(
        self, requests: Sequence[Request], keys: dict[Request, Key], remaining: dict[Request, float]
    ) -> Iterator[Request]:
        """Shortest first among clients with a positive deficit, round after round."""
        queues: dict[str, list[tuple[Key, int, Request]]] = defaultdict(list)
        for number, request in enumerate(requests):
            queues[request.client].append((keys[request], number, request))
        for queue in queues.values():
            heapq.heapify(queue)
        ahead = self._shares.copy()
        while queues:
            ahead.start_rounds(queues.keys(), self._quantum_ms)
            heads = [
                (queue[0], client)
                for client, queue in queues.items()
                if ahead.deficit(client, self._quantum_ms) > 0
            ]
            heapq.heapify(heads)
            while heads:
                (_, _, request), client = heapq.heappop(heads)
                yield request
                ahead.charge(client, remaining[request], self._quantum_ms)
                heapq.heappop(queues[client])
                if not queues[client]:
                    del queues[client]
                elif ahead.deficit(client, self._quantum_ms) > 0:
                    heapq.heappush(heads, (queues[client][0], client))

    def _reset_quantum(self) -> None:
        self._quantum_ms = QUANTUM * max(1.0, statistics.median(self._alone_ms.values() or (1.0,)))


BINDING, OVERDUE, NORMAL, HOPELESS = range(4)
