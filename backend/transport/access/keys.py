"""The API keys file: a JSON list of names with SHA-256 digests or plain keys.

Generated keys are 256 random bits, so a fast hash is safe. A slow hash would make refusing a wrong
key more expensive than sending one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from backend.errors import ConfigError

log = structlog.get_logger(__name__)

KEY = re.compile(r"[!-~]{16,512}")
DIGEST = re.compile(r"[0-9a-f]{64}")
MAX_RATE = 1_000_000
FORM = '[{"name": "studio", "sha256": "..."}]'


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key. A delegate (such as the studio) may name the client it calls for.

    The limits apply to each client separately; None: the server's default, 0: no limit.
    """

    name: str
    sha256: str
    delegate: bool = False
    requests_per_minute: int | None = None
    concurrent_requests: int | None = None


def new_key() -> str:
    """A new random key (256 bits)."""
    return secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """The SHA-256 digest that is stored for a key."""
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()


def load_api_keys(path: Path) -> tuple[ApiKey, ...]:
    """Read the keys file and refuse an empty one.

    Raises:
        ConfigError: the file is empty or invalid, or other users can write to it.
    """
    keys = read_keys(path)
    if not keys:
        raise ConfigError(f"{path}: holds no keys, which would let everybody in.")
    return keys


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """Like `load_api_keys`, but the file may be empty."""
    try:
        _check_mode(path)
        entries = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not a list like {FORM}: {error}") from None
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: not a list like {FORM}.")
    keys = tuple(_key(entry, f"{path}: entry {n}") for n, entry in enumerate(entries, 1))
    if len({key.sha256 for key in keys}) < len(keys):
        raise ConfigError(f"{path}: two entries have the same key.")
    if any("key" in entry for entry in entries) and _mode(path) & 0o044:
        log.warning("others can read the API keys", path=str(path), fix=f"chmod 600 {path}")
    return keys


def write_keys(path: Path, keys: tuple[ApiKey, ...]) -> None:
    """Write the digests, readable by the owner only; a running server reloads the file."""
    entries = [
        {name: value for name, value in _fields(key).items() if value not in (None, False)}
        for key in keys
    ]
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(entries, file, indent=1)
        file.flush()
        os.fsync(descriptor)
    aside.replace(path)


def _fields(key: ApiKey) -> dict[str, Any]:
    return {name: getattr(key, name) for name in ApiKey.__slots__}


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode) if sys.platform != "win32" else 0


def _check_mode(path: Path) -> None:
    if _mode(path) & 0o022:
        raise ConfigError(f"{path}: others may change it, and so let themselves in: chmod 600.")


def _key(entry: Any, where: str) -> ApiKey:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where} is not an object like {FORM[1:-1]}.")
    unknown = entry.keys() - {"key", *ApiKey.__slots__}
    if unknown:
        raise ConfigError(f"{where}: there is no {sorted(unknown)[0]!r}.")
    name = entry.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ConfigError(f"{where} needs a name.")
    delegate = entry.get("delegate", False)
    if not isinstance(delegate, bool):
        raise ConfigError(f"{where}: delegate must be true or false, without quotes.")
    return ApiKey(
        name,
        _digest(entry, where),
        delegate,
        _rate(entry, "requests_per_minute", where),
        _rate(entry, "concurrent_requests", where),
    )


def _digest(entry: dict[str, Any], where: str) -> str:
    if ("key" in entry) == ("sha256" in entry):
        raise ConfigError(f"{where} needs either a sha256 or a key.")
    if "sha256" in entry:
        known = entry["sha256"]
        if not isinstance(known, str) or not DIGEST.fullmatch(known):
            raise ConfigError(f"{where}: sha256 must be 64 hexadecimal digits.")
        return known
    key = entry["key"]
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise ConfigError(
            f"{where} needs a key of at least 16 printable ASCII characters without spaces."
        )
    return digest(key)


def _rate(entry: dict[str, Any], name: str, where: str) -> int | None:
    rate = entry.get(name)
    if rate is not None and (type(rate) is not int or not 0 <= rate <= MAX_RATE):
        raise ConfigError(f"{where}: {name} must be a whole number, 0 to {MAX_RATE}.")
    return rate
