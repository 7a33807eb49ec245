"""Facts about the current rpc, for logs, metrics and traces."""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass, field

from backend.domain import Timings
from proto import text2image_pb2 as pb

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["Text2ImageService"].full_name


@dataclass(slots=True)
class Call:
    """One rpc from arrival to end. Contains no prompt, so it can be logged."""

    method: str
    client: str = ""
    request_id: str = ""
    model: str = ""
    code: str = "OK"
    timings: Timings | None = None
    arrived_s: float = field(default_factory=time.perf_counter)
    first_event_s: float | None = None  # after its arrival

    @property
    def total_s(self) -> float:
        """Seconds since its arrival."""
        return time.perf_counter() - self.arrived_s


CURRENT: ContextVar[Call] = ContextVar("call")
