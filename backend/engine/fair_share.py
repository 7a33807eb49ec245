"""Deficit round robin over clients, in predicted milliseconds."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable


class FairShare:
    """Model time that each client may still use in this round.

    Shreedhar and Varghese, "Efficient Fair Queueing using Deficit Round Robin" (1995), with one
    change: clients with a positive deficit may be served in any order, so that the policy can put
    short requests first across clients. A round ends when no waiting client has any left.
    Deficits are kept until the round ends even for clients without requests, so that leaving and
    coming back gains nothing.
    """

    def __init__(self) -> None:
        self._deficits: dict[str, float] = {}

    def deficit(self, client: str, quantum_ms: float) -> float:
        """Milliseconds left for `client`; a new client starts with one quantum."""
        return self._deficits.get(client, quantum_ms)

    def charge(self, client: str, ms: float, quantum_ms: float) -> None:
        """Subtract `ms` of model time from `client`; the result may be negative."""
        self._deficits[client] = self.deficit(client, quantum_ms) - ms

    def start_rounds(self, waiting: Collection[str], quantum_ms: float) -> None:
        """Start new rounds until some waiting client has a positive deficit."""
        if not waiting:
            self._deficits = {}
            return
        richest = max(self.deficit(client, quantum_ms) for client in waiting)
        if richest > 0:
            return
        rounds = math.floor(-richest / quantum_ms) + 1
        grant = rounds * quantum_ms
        absent = [client for client in self._deficits if client not in waiting]
        for client in absent:  # they keep debts but save nothing up
            if self._deficits[client] + grant >= 0:
                del self._deficits[client]
            else:
                self._deficits[client] += grant
        self._grant(waiting, grant)

    def copy(self) -> FairShare:
        """For predicting the order without changing it."""
        twin = FairShare()
        twin._deficits = dict(self._deficits)
        return twin

    def _grant(self, clients: Iterable[str], ms: float) -> None:
        for client in clients:
            self._deficits[client] = self._deficits.get(client, 0.0) + ms
