"""Rate limits by address: wrong codes, wrong passwords, joining, requests."""

from __future__ import annotations

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

WRONG_CODES = RateLimitItemPerMinute(20, namespace="code")
WRONG_PASSWORDS = RateLimitItemPerMinute(5, namespace="password")
JOINED = RateLimitItemPerHour(1200, namespace="join")  # a whole school may share one address
ASKED = RateLimitItemPerMinute(30, namespace="ask")


class Guesses:
    """Counts attempts in memory; a restart resets them."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def may(self, what: RateLimitItem, who: str) -> bool:
        """Whether another attempt is allowed; does not count one."""
        return self._limiter.test(what, who)

    def count(self, what: RateLimitItem, who: str) -> bool:
        """Count an attempt; returns False if it exceeds the limit."""
        return self._limiter.hit(what, who)
