"""`python -m backend keys add|list|revoke`: manages the API keys file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from backend.errors import ConfigError
from backend.transport.access.keys import ApiKey, digest, new_key, read_keys, write_keys


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the `keys` command to the argument parser."""
    keys = commands.add_parser("keys", help="add, list and revoke API keys")
    keys.add_argument("--file", type=Path, help="instead of TEXT2IMAGE_API_KEYS_FILE")
    does = keys.add_subparsers(dest="does", required=True)
    add = does.add_parser("add", help="make a key and print it, this once")
    add.add_argument("name", help="of whoever gets it")
    add.add_argument("--delegate", action="store_true", help="may speak for others, as the studio")
    add.add_argument("--requests-per-minute", type=int, help="of each client; 0: no limit")
    add.add_argument("--concurrent-requests", type=int, help="of each client; 0: no limit")
    does.add_parser("list", help="names and limits, and the beginnings of the digests")
    revoke = does.add_parser("revoke", help="let a key open nothing any more")
    revoke.add_argument("key", help="a name (all its keys), or the beginning of a digest")


def run(wanted: argparse.Namespace, default_file: Path | None) -> int:
    """Run the parsed command. Returns the exit code: 0, or 1 if there is no such key.

    Raises:
        ConfigError: no file is given, or it is invalid.
    """
    path: Path | None = wanted.file or default_file
    if path is None:
        raise ConfigError("Set TEXT2IMAGE_API_KEYS_FILE, or give --file.")
    keys = read_keys(path) if path.exists() else ()
    match wanted.does:
        case "add":
            return _add(path, keys, wanted)
        case "revoke":
            return _revoke(path, keys, wanted.key)
    for key in keys:
        print(_line(key))
    return 0


def _add(path: Path, keys: tuple[ApiKey, ...], wanted: argparse.Namespace) -> int:
    secret = new_key()
    rates = {"requests_per_minute": wanted.requests_per_minute,
             "concurrent_requests": wanted.concurrent_requests}  # fmt: skip
    for name, rate in rates.items():
        if rate is not None and rate < 0:
            raise ConfigError(f"{name} must be 0 or more.")
    if not wanted.name.strip():
        raise ConfigError("The key needs a name.")
    made = ApiKey(wanted.name, digest(secret), wanted.delegate, **rates)
    write_keys(path, (*keys, made))
    print(secret)
    print(f"Keep it: {path} holds its digest alone.", file=sys.stderr)
    return 0


def _revoke(path: Path, keys: tuple[ApiKey, ...], wanted: str) -> int:
    gone = [key for key in keys if key.name == wanted]
    if not gone and len(wanted) >= 4:
        gone = [key for key in keys if key.sha256.startswith(wanted)]
    if not gone:
        print(f"text2image: there is no key {wanted!r}; see `keys list`.", file=sys.stderr)
        return 1
    write_keys(path, tuple(key for key in keys if key not in gone))
    for key in gone:
        print(f"Revoked: {_line(key)}")
    if len(gone) == len(keys):
        print("No key is left: a running server lets nobody in, and none starts.", file=sys.stderr)
    return 0


def _line(key: ApiKey) -> str:
    limits = [
        f"{rate} {what}"
        for rate, what in (
            (key.requests_per_minute, "requests per minute"),
            (key.concurrent_requests, "requests at once"),
        )
        if rate is not None
    ]
    return "  ".join([key.sha256[:12], key.name, *(["delegate"] * key.delegate), *limits])
