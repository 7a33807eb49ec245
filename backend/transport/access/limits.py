"""Rate limits per client, and a lockout for wrong API keys."""

from __future__ import annotations

import ipaddress
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from backend.errors import LockedOut, QuotaSpent

MAX_GUESSES = 10  # per minute and address
MAX_REMEMBERED = 10_000


class Limiter:
    """Limits requests per minute and concurrent requests of each client; 0: no limit."""

    def __init__(self) -> None:
        self._windows = MovingWindowRateLimiter(MemoryStorage())
        self._running: Counter[str] = Counter()

    @contextmanager
    def hold(self, client: str, per_minute: int, at_once: int) -> Iterator[None]:
        """Wrap one request of `client`.

        Raises:
            QuotaSpent: it exceeds a limit.
        """
        if 0 < at_once <= self._running[client]:
            text = f"You have {at_once} requests running, as many as you may at once."
            raise QuotaSpent(text, 1.0)
        self._count(client, per_minute)
        self._running[client] += 1
        try:
            yield
        finally:
            self._running[client] -= 1
            if not self._running[client]:
                del self._running[client]

    def _count(self, client: str, per_minute: int) -> None:
        if per_minute == 0:
            return
        item = RateLimitItemPerMinute(per_minute)
        if not self._windows.hit(item, client):
            free_s = self._windows.get_window_stats(item, client).reset_time - time.time()
            text = f"You have made {per_minute} requests within a minute, as many as you may."
            raise QuotaSpent(text, max(1.0, free_s))


class Lockout:
    """Locks out addresses that send too many wrong keys.

    A key that was accepted from an address before still works there during a lockout.
    """

    def __init__(self, max_guesses: int = MAX_GUESSES) -> None:
        self._item = RateLimitItemPerMinute(max_guesses)
        self._windows = MovingWindowRateLimiter(MemoryStorage())
        self._good: OrderedDict[tuple[str, str], None] = OrderedDict()

    def succeeded(self, address: str, sha256: str) -> None:
        """Record that a valid key came from `address`.

        Raises:
            LockedOut: the address is locked out and this key is new there (a lucky guess).
        """
        place = _network(address)
        if (place, sha256) not in self._good:
            self.check(address)
        self._good[place, sha256] = None
        self._good.move_to_end((place, sha256))
        if len(self._good) > MAX_REMEMBERED:
            self._good.popitem(last=False)

    def failed(self, address: str) -> None:
        """Record that an unknown key came from `address`.

        Raises:
            LockedOut: the address has sent too many.
        """
        self.check(address)
        self._windows.hit(self._item, _network(address))

    def check(self, address: str) -> None:
        """Raises LockedOut if the address has sent too many unknown keys in the last minute."""
        place = _network(address)
        if not self._windows.test(self._item, place):
            free_s = self._windows.get_window_stats(self._item, place).reset_time - time.time()
            raise LockedOut("Too many unknown API keys came from your address.", max(1.0, free_s))


def _network(address: str) -> str:
    """An IPv4 address itself; the /64 network of an IPv6 address, which belongs to one host."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if known.version == 4:
        return address
    return str(ipaddress.ip_network((address, 64), strict=False))
