"""The queue of the front: who is handed to a replica next, and who is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from backend.domain import Queued
from backend.engine.cost import CostModel
from backend.engine.policy import Policy
from backend.engine.request import Request
from backend.engine.scheduler import IMMINENT_MS, PASSED
from backend.errors import DeadlineExceeded, DeadlineUnmeetable, QueueFull, QuotaSpent

LEAST_RETRY_S = 0.1


class Line:
    """Requests that no replica has yet, in the policy's order: deadlines, fair shares, shortest.

    Costs are those of one replica, the reference; `speed` says how many of it there are.
    """

    def __init__(
        self, max_queue: int, max_queue_per_client: int, clock: Callable[[], float]
    ) -> None:
        self.cost = CostModel()
        self.speed = 1.0
        self._policy = Policy(self.cost)
        self._max_queue = max_queue
        self._max_queue_per_client = max_queue_per_client
        self._clock = clock
        self._requests: dict[Request, None] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        """In the order of service."""
        return self._policy.order([*self._requests], self._clock())

    def check_places(self, client: str, busy_ms: float) -> None:
        """Refuse a request before any work is spent on it.

        Raises:
            QueueFull, QuotaSpent: there is no place for `client`.
        """
        retry_s = max(LEAST_RETRY_S, busy_ms / 1000)
        if len(self._requests) >= self._max_queue:
            text = f"All {self._max_queue} places in the queue are taken."
            raise QueueFull(text, retry_s)
        waiting = Counter(request.client for request in self._requests)[client]
        if 0 < self._max_queue_per_client <= waiting:
            text = f"You have {waiting} requests waiting, as many as you may."
            raise QuotaSpent(text, retry_s)

    def add(self, request: Request, busy_ms: float) -> None:
        """Queue a request. `busy_ms`: time until a replica can take anything.

        Raises:
            QueueFull, QuotaSpent, DeadlineExceeded, DeadlineUnmeetable: it was not queued.
        """
        self.check_places(request.client, busy_ms)
        self.put_back(request)
        try:
            self._check_deadline(request, busy_ms)
        except (DeadlineExceeded, DeadlineUnmeetable):
            self.remove(request)
            raise

    def put_back(self, request: Request) -> None:
        """Queue a request that was admitted before; its place is by its old arrival."""
        self._requests[request] = None
        self._policy.add(request)

    def remove(self, request: Request) -> None:
        """Drop a request; an unknown one is not an error."""
        if self._requests.pop(request, request) is None:
            self._policy.remove(request)

    def take(self, request: Request) -> None:
        """Remove a request that goes to a replica; its client pays for it."""
        self._policy.charge([(request, self.cost.loaded_ms(request))])
        self.remove(request)

    def places(self, busy_ms: float) -> Iterator[tuple[Request, Queued]]:
        """Every request with its position and predicted wait."""
        ahead_ms = 0.0
        for position, request in enumerate(self):
            yield request, Queued(position, busy_ms + ahead_ms / self.speed)
            ahead_ms += self.cost.loaded_ms(request)

    def wait_ms(self, busy_ms: float) -> float:
        """Predicted wait of one that came now, behind all the others."""
        return busy_ms + sum(map(self.cost.loaded_ms, self._requests)) / self.speed

    def _check_deadline(self, request: Request, busy_ms: float) -> None:
        if request.deadline_at_s is None:
            return
        left_ms = (request.deadline_at_s - self._clock()) * 1000
        if left_ms < IMMINENT_MS:
            raise DeadlineExceeded(PASSED)
        params = request.params
        if not all(self.cost.is_measured(*size) for size in
                   {(params.height, params.width), params.final_size}):  # fmt: skip
            return  # never refuse on a guess
        alone_ms = self.cost.request_ms(request)
        (wait_ms,) = (
            place.estimated_wait_ms for other, place in self.places(busy_ms) if other is request
        )
        if wait_ms + alone_ms > left_ms:
            text = (
                f"Your deadline is in {left_ms / 1000:.1f} s, but this needs about "
                f"{wait_ms / 1000:.1f} s of waiting and {alone_ms / 1000:.1f} s of work."
            )
            raise DeadlineUnmeetable(text, wait_ms / 1000 if alone_ms <= left_ms else None)
