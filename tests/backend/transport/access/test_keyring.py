"""Keys that are added or revoked while the server runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.transport.access import keyring
from backend.transport.access.keyring import Keyring
from backend.transport.access.keys import ApiKey, digest, write_keys

ALICE, BOB = "alice-0123456789abcdef", "bob-0123456789abcdef"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(keyring, "LOOK_EVERY_S", 0)
    path = tmp_path / "keys.json"
    write_keys(path, (ApiKey("alice", digest(ALICE)),))
    return path


def found(ring: Keyring, presented: str) -> str | None:
    key = ring.find(presented)
    return key.name if key else None


def test_an_added_key_opens_and_a_revoked_one_does_not(path: Path) -> None:
    ring = Keyring.of_file(path)
    assert (found(ring, ALICE), found(ring, BOB)) == ("alice", None)
    write_keys(path, (ApiKey("bob", digest(BOB)),))
    assert (found(ring, ALICE), found(ring, BOB)) == (None, "bob")


def test_with_the_last_key_revoked_nobody_may_call(path: Path) -> None:
    ring = Keyring.of_file(path)
    write_keys(path, ())
    assert found(ring, ALICE) is None
    assert not ring.is_open


@pytest.mark.parametrize("content", ["", "{", json.dumps([{"name": "a"}])])
def test_a_file_that_is_no_good_changes_nothing(path: Path, content: str) -> None:
    ring = Keyring.of_file(path)
    path.write_text(content, encoding="utf-8")
    assert found(ring, ALICE) == "alice"
    path.unlink()
    assert found(ring, ALICE) == "alice"
    write_keys(path, (ApiKey("bob", digest(BOB)),))
    assert found(ring, BOB) == "bob"


def test_without_a_file_everybody_may_call() -> None:
    assert Keyring.of_file(None).is_open


def test_a_key_of_any_length_and_kind_is_looked_up(path: Path) -> None:
    ring = Keyring.of_file(path)
    for presented in ("", "ä", "\ud800", "x" * 100_000):
        assert ring.find(presented) is None
