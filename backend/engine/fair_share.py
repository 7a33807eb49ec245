"""Deficit round robin over clients, in predicted milliseconds."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable


class FairShare:
    """What each client may still use in this round.

    Shreedhar and Varghese, "Efficient Fair Queueing using Deficit Round Robin" (1995), with one
    change: who has a deficit left may be served in any order, so that the policy can put short
    requests first across clients. A round ends when nobody who waits has a deficit left.
    Deficits outlive a client's backlog until the round ends: coming back gives nothing anew.
    """

    def __init__(self) -> None:
        self._deficits: dict[str, float] = {}

    def deficit(self, client: str, quantum_ms: float) -> float:
        """Milliseconds left to `client`; a newcomer has one quantum."""
        return self._deficits.get(client, quantum_ms)

    def charge(self, client: str, ms: float, quantum_ms: float) -> None:
        """Take `ms` of model time from `client`; it may go into debt."""
        self._deficits[client] = self.deficit(client, quantum_ms) - ms

    def start_rounds(self, waiting: Collection[str], quantum_ms: float) -> None:
        """Start as many rounds as it takes for someone who waits to have a deficit left."""
        if not waiting:
            self._deficits = {}
            return
        richest = max(self.deficit(client, quantum_ms) for client in waiting)
        if richest > 0:
            return
        rounds = math.floor(-richest / quantum_ms) + 1
        grant = rounds * quantum_ms
        absent = [client for client in self._deficits if client not in waiting]
        for client in absent:  # they keep their debts, and save up nothing
            if self._deficits[client] + grant >= 0:
                del self._deficits[client]
            else:
                self._deficits[client] += grant
        self._grant(waiting, grant)

    def copy(self) -> FairShare:
        """For a look ahead."""
        twin = FairShare()
        twin._deficits = dict(self._deficits)
        return twin

    def _grant(self, clients: Iterable[str], ms: float) -> None:
        for client in clients:
            self._deficits[client] = self._deficits.get(client, 0.0) + ms
