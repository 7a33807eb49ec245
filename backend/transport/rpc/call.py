"""The rpc that is being answered: who makes it, and what became of it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Call:
    """One rpc of ours, from its arrival to its end."""

    method: str
    client: str = ""


CURRENT: ContextVar[Call] = ContextVar("call")
