"""The rpc that is being answered: who makes it, and what became of it."""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass, field

from backend.domain import Timings
from proto import text2image_pb2 as pb

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["Text2ImageService"].full_name


@dataclass(slots=True)
class Call:
    """One rpc of ours, from its arrival to its end; what is told of it names no prompt."""

    method: str
    client: str = ""
    request_id: str = ""
    model: str = ""
    code: str = "OK"
    timings: Timings | None = None
    arrived_s: float = field(default_factory=time.monotonic)
    first_event_s: float | None = None  # since its arrival

    @property
    def total_s(self) -> float:
        """Since its arrival."""
        return time.monotonic() - self.arrived_s


CURRENT: ContextVar[Call] = ContextVar("call")
