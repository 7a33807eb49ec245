"""Picks the next work. Reads no clock: the same calls give the same decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from backend.domain import Queued
from backend.engine.cost import CostModel
from backend.engine.policy import Policy
from backend.engine.request import Request, Stage, Task
from backend.errors import DeadlineExceeded, DeadlineUnmeetable, QueueFull, QuotaSpent


@dataclass(frozen=True, slots=True)
class Denoise:
    """One UNet call for images of equal `BatchKey`; WAITING ones must be prepared first."""

    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Decode:
    """Decode one image, latents to pixels."""

    task: Task


@dataclass(frozen=True, slots=True)
class Encode:
    """Encode the initial picture of a request, pixels to latents."""

    task: Task


Work = Denoise | Decode | Encode

PASSED = "The deadline had passed before the work began."
IMMINENT_MS = 1.0  # a deadline this close counts as passed
NEARLY = 0.9  # from bench/simulator: better than 1.0 and 0.95 in mean, tail and deadlines met


class Scheduler:
    """Holds the admitted requests until they are removed, and picks the next work."""

    def __init__(self, cost: CostModel, max_queue: int, max_queue_per_client: int = 0) -> None:
        """`max_queue` limits requests not yet started; 0 per client: no limit per client."""
        self._cost = cost
        self._policy = Policy(cost)
        self._max_queue = max_queue
        self._max_queue_per_client = max_queue_per_client
        self._requests: dict[Request, None] = {}  # in order of arrival

    @property
    def queued(self) -> int:
        """Number of requests not yet started."""
        return sum(request.is_waiting for request in self._requests)

    @property
    def running(self) -> int:
        """Number of requests started and not removed."""
        return len(self._requests) - self.queued

    def add(self, request: Request, now_s: float) -> None:
        """Admit `request`.

        Raises:
            QueueFull, QuotaSpent, DeadlineExceeded, DeadlineUnmeetable: it was not queued.
        """
        self._check_places(request)
        self._requests[request] = None
        self._policy.add(request)
        try:
            self._check_deadline(request, now_s)
        except (DeadlineExceeded, DeadlineUnmeetable):
            self.remove(request)
            raise

    def remove(self, request: Request) -> None:
        """Remove a finished, failed or aborted request; an unknown one is not an error."""
        if self._requests.pop(request, request) is None:
            self._policy.remove(request)

    def next_work(self, now_s: float) -> Work | None:
        """The next UNet call or decode, or None when there is nothing to do."""
        tasks = self._tasks(now_s)
        head = next(tasks, None)
        if head is None:
            return None
        height, width = head.batch_key[:2]
        if head.stage is Stage.DECODING:
            self._policy.charge([(head.request, self._cost.decode_ms(height, width))])
            return Decode(head)
        batch = self._fill(head, tasks)
        for task in batch:
            if task.needs_source:
                encode_ms = self._cost.encode_picture_ms(height, width)
                self._policy.charge([(task.request, encode_ms)])
                return Encode(task)
        rows = sum(task.num_rows for task in batch)
        row_ms = self._cost.step_ms(height, width, rows) / rows
        self._policy.charge([(task.request, task.num_rows * row_ms) for task in batch])
        return Denoise(tuple(batch))

    def line(self, now_s: float) -> Iterator[tuple[Request, Queued]]:
        """Every request not yet started, with its queue position and predicted wait."""
        ahead_ms = 0.0
        for position, request in enumerate(self._order(now_s)):
            if request.is_waiting:
                yield request, Queued(position, ahead_ms)
            ahead_ms += self._cost.loaded_ms(request)

    def etas_ms(self, requests: Iterable[Request], now_s: float) -> dict[Request, float]:
        """Predicted time until each request's last image is decoded. Aborted ones are left out."""
        wanted, etas, ahead_ms = set(requests), dict[Request, float](), 0.0
        for request in self._order(now_s):
            if request in wanted:
                etas[request] = ahead_ms + self._cost.request_ms(request)
                if len(etas) == len(wanted):
                    break
            ahead_ms += self._cost.loaded_ms(request)
        return etas

    def _order(self, now_s: float) -> Iterator[Request]:
        alive = [request for request in self._requests if not request.aborted]
        return self._policy.order(alive, now_s)

    def _tasks(self, now_s: float) -> Iterator[Task]:
        """Unfinished images in the policy's order; a request's decodes before its steps."""
        for request in self._order(now_s):
            yield from (task for task in request.tasks if task.stage is Stage.DECODING)
            for task in request.tasks:
                if task.stage in (Stage.WAITING, Stage.DENOISING):
                    yield task

    def _fill(self, head: Task, others: Iterable[Task]) -> list[Task]:
        """The most efficient batch that contains `head` and changes no image in it.

        That is the smallest whose rows/ms reach `NEARLY` of the best: a few percent more
        throughput is not worth a step that takes twice as long for everyone in it.
        """
        key = head.batch_key
        height, width = key[:2]
        most = self._cost.max_rows(height, width)
        batch, rows = [head], head.num_rows
        rates = {1: rows / self._cost.step_ms(height, width, rows)}
        if rows >= most:
            return batch
        for task in others:
            if task.stage is Stage.DECODING or task.batch_key != key:
                continue
            if rows + task.num_rows > most:
                continue
            batch.append(task)
            rows += task.num_rows
            if self._is_exact(batch, rows):
                rates[len(batch)] = rows / self._cost.step_ms(height, width, rows)
            if rows == most:
                break
        enough = NEARLY * max(rates.values())
        return batch[: min(size for size, rate in rates.items() if rate >= enough)]

    def _is_exact(self, batch: list[Task], rows: int) -> bool:
        key = batch[0].batch_key
        allowed = (
            self._cost.allowed_rows(key.height, key.width, alone, key.num_chunks)
            for alone in {task.num_rows for task in batch}
        )
        return all(counts is None or rows in counts for counts in allowed)

    def _check_places(self, request: Request) -> None:
        if self.queued >= self._max_queue:
            text = f"All {self._max_queue} places in the queue are taken."
            raise QueueFull(text, self._until_next_leaves())
        waiting = Counter(other.client for other in self._requests if other.is_waiting)
        if 0 < self._max_queue_per_client <= waiting[request.client]:
            text = f"You have {waiting[request.client]} requests waiting, as many as you may."
            raise QuotaSpent(text, self._until_next_leaves())

    def _check_deadline(self, request: Request, now_s: float) -> None:
        if request.deadline_at_s is None:
            return
        if request.deadline_at_s <= now_s:
            raise DeadlineExceeded(PASSED)
        params = request.params
        for size in {(params.height, params.width), params.final_size}:
            if not self._cost.is_measured(*size):
                return  # never refuse on a guess
        left_ms = (request.deadline_at_s - now_s) * 1000
        alone_ms = self._cost.request_ms(request)
        ahead_ms = self.etas_ms([request], now_s).get(request, alone_ms) - alone_ms
        if left_ms < IMMINENT_MS:
            raise DeadlineExceeded(PASSED)
        if ahead_ms + alone_ms > left_ms:
            text = (
                f"Your deadline is in {left_ms / 1000:.1f} s, but this needs about "
                f"{ahead_ms / 1000:.1f} s of waiting and {alone_ms / 1000:.1f} s of work."
            )
            raise DeadlineUnmeetable(text, ahead_ms / 1000 if alone_ms <= left_ms else None)

    def _until_next_leaves(self) -> float:
        """Predicted seconds until the next request ends, at least 0.1."""
        return max(0.1, min(map(self._cost.request_ms, self._requests), default=0.0) / 1000)
