"""Rate limits per client, and the lockout per address."""

from __future__ import annotations

import pytest

from backend.errors import LockedOut, QuotaSpent
from backend.transport.access.limits import MAX_GUESSES, Limiter, Lockout


class TestLimiter:
    def test_so_many_a_minute(self) -> None:
        limiter = Limiter()
        for _ in range(3):
            with limiter.hold("alice", 3, 0):
                pass
        with pytest.raises(QuotaSpent, match="3 requests within a minute") as caught:
            limiter.hold("alice", 3, 0).__enter__()
        assert 0 < (caught.value.retry_after_s or 0) <= 61
        with limiter.hold("bob", 3, 0):
            pass

    def test_so_many_at_once(self) -> None:
        limiter = Limiter()
        with limiter.hold("alice", 0, 2), limiter.hold("alice", 0, 2):
            with pytest.raises(QuotaSpent, match="2 requests running"):
                limiter.hold("alice", 0, 2).__enter__()
            with limiter.hold("bob", 0, 2):
                pass
        with limiter.hold("alice", 0, 2):
            pass

    def test_a_request_that_fails_frees_its_place(self) -> None:
        limiter = Limiter()
        with pytest.raises(ValueError, match="broken"), limiter.hold("alice", 0, 1):
            raise ValueError("broken")
        with limiter.hold("alice", 0, 1):
            pass

    def test_what_is_refused_at_once_does_not_count_for_the_minute(self) -> None:
        limiter = Limiter()
        with limiter.hold("alice", 2, 1):
            for _ in range(5):
                with pytest.raises(QuotaSpent):
                    limiter.hold("alice", 2, 1).__enter__()
        with limiter.hold("alice", 2, 1):
            pass

    def test_zero_is_no_limit(self) -> None:
        limiter = Limiter()
        for _ in range(1000):
            with limiter.hold("alice", 0, 0):
                pass


class TestLockout:
    def guess(self, lockout: Lockout, address: str, times: int = MAX_GUESSES) -> None:
        for _ in range(times):
            lockout.failed(address)

    def test_a_guesser_waits_even_with_a_good_key(self) -> None:
        lockout = Lockout()
        self.guess(lockout, "10.0.0.7")
        with pytest.raises(LockedOut) as caught:
            lockout.failed("10.0.0.7")
        assert 0 < (caught.value.retry_after_s or 0) <= 61
        with pytest.raises(LockedOut):
            lockout.succeeded("10.0.0.7", "lucky")

    def test_others_do_not(self) -> None:
        lockout = Lockout()
        lockout.succeeded("10.0.0.7", "known")
        self.guess(lockout, "10.0.0.7")
        lockout.succeeded("10.0.0.7", "known")  # behind the same router, or proxy
        lockout.succeeded("10.0.0.8", "new")

    def test_all_addresses_of_an_ipv6_network_are_one(self) -> None:
        lockout = Lockout()
        for n in range(MAX_GUESSES):
            lockout.failed(f"2001:db8::{n:x}")
        with pytest.raises(LockedOut):
            lockout.failed("2001:db8::ffff:1")
        lockout.failed("2001:db8:0:1::1")
