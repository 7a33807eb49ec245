"""Join codes: short enough to type from a wall, too many to guess."""

from __future__ import annotations

import secrets

ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # none that look alike: no I, L, O, 0, 1
LENGTH = 8  # 31^8: 850 thousand million


def new_code() -> str:
    """A random code, as it is stored."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def normalized(text: str) -> str | None:
    """A code as people type it, in the stored form, or None: it can't be one."""
    code = "".join(text[: 4 * LENGTH].split()).replace("-", "").upper()
    is_code = len(code) == LENGTH and set(code) <= set(ALPHABET)
    return code if is_code else None


def spoken(code: str) -> str:
    """A code as people read it: in two halves."""
    return f"{code[: LENGTH // 2]}-{code[LENGTH // 2 :]}"
