"""Join codes: short enough to type, too many to guess."""

from __future__ import annotations

import secrets

ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # without similar characters: I, L, O, 0, 1
LENGTH = 8  # 31^8 = 850 billion (10^9) codes


def new_code() -> str:
    """A random code in the stored form."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def normalized(text: str) -> str | None:
    """Convert a typed code to the stored form; None if it is invalid."""
    code = "".join(text[: 4 * LENGTH].split()).replace("-", "").upper()
    is_code = len(code) == LENGTH and set(code) <= set(ALPHABET)
    return code if is_code else None


def spoken(code: str) -> str:
    """Format a code for people, in two halves."""
    return f"{code[: LENGTH // 2]}-{code[LENGTH // 2 :]}"
