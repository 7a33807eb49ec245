"""Limits on what strangers may try: codes, passwords, joining. By address."""

from __future__ import annotations

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

WRONG_CODES = RateLimitItemPerMinute(20, namespace="code")
WRONG_PASSWORDS = RateLimitItemPerMinute(5, namespace="password")
JOINED = RateLimitItemPerHour(600, namespace="join")  # a school may have one address
ASKED = RateLimitItemPerMinute(30, namespace="ask")


class Guesses:
    """Counts tries in memory; a restart forgets them."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def may(self, what: RateLimitItem, who: str) -> bool:
        """Whether another try is allowed, which is not counted."""
        return self._limiter.test(what, who)

    def count(self, what: RateLimitItem, who: str) -> bool:
        """Note a try; False where it is one too many."""
        return self._limiter.hit(what, who)
