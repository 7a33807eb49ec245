"""Who is calling, and who may not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backend.errors import ConfigError, Unauthenticated
from backend.transport.rpc.identity import (
    ApiKey,
    Identifier,
    is_local,
    load_api_keys,
    peer_address,
)

SECRET = "0123456789abcdef"
OTHER = "fedcba9876543210"


class FakeContext:
    """What identity looks at of a call."""

    def __init__(self, peer: str = "ipv4:127.0.0.1:5012", subject: str = "", **metadata: str):
        self._peer = peer
        self._auth = {"x509_common_name": [subject.encode()]} if subject else {}
        self._metadata = tuple((key.replace("_", "-"), value) for key, value in metadata.items())

    def peer(self) -> str:
        return self._peer

    def auth_context(self) -> Any:
        return self._auth

    def invocation_metadata(self) -> Any:
        return self._metadata


def identify(*keys: ApiKey, **call: Any) -> str:
    context: Any = FakeContext(**call)
    return Identifier(keys).identify(context)


class TestWithoutKeys:
    def test_the_address_without_the_port(self) -> None:
        assert identify(peer="ipv4:10.0.0.7:5012") == "10.0.0.7"
        assert identify(peer="ipv4:127.0.0.1:5012") == "127.0.0.1"

    def test_the_certificates_subject_goes_before_the_address(self) -> None:
        assert identify(peer="ipv4:10.0.0.7:5012", subject="alice") == "alice"
        assert identify(subject="alice") == "alice"

    @pytest.mark.parametrize("peer", ["ipv4:127.0.0.1:1", "ipv6:%5B::1%5D:1", "unix:"])
    def test_from_this_machine_a_caller_is_passed_on(self, peer: str) -> None:
        assert identify(peer=peer, x_text2image_client="tab-1").endswith("/tab-1")

    def test_from_elsewhere_it_is_not(self) -> None:
        assert identify(peer="ipv4:10.0.0.7:1", x_text2image_client="tab-1") == "10.0.0.7"

    def test_a_long_caller_is_cut(self) -> None:
        assert len(identify(x_text2image_client="x" * 5000)) < 200


class TestWithKeys:
    KEYS = (ApiKey("studio", SECRET, delegate=True), ApiKey("alice", OTHER))

    def test_the_keys_name(self) -> None:
        assert identify(*self.KEYS, authorization=f"Bearer {OTHER}") == "alice"
        assert identify(*self.KEYS, authorization=f"bearer {OTHER} ") == "alice"

    def test_a_delegate_speaks_for_its_callers(self) -> None:
        call = {"authorization": f"Bearer {SECRET}", "x_text2image_client": "tab-1"}
        assert identify(*self.KEYS, **call) == "studio/tab-1"

    def test_others_speak_for_themselves_alone(self) -> None:
        call = {"authorization": f"Bearer {OTHER}", "x_text2image_client": "studio"}
        assert identify(*self.KEYS, **call) == "alice"

    @pytest.mark.parametrize(
        "authorization",
        ["", "Bearer", "Bearer ", f"Basic {OTHER}", OTHER, f"Bearer {OTHER}x", "Bearer ä", "\x00"],
    )
    def test_anything_else_is_refused_even_from_this_machine(self, authorization: str) -> None:
        with pytest.raises(Unauthenticated) as caught:
            identify(*self.KEYS, authorization=authorization)
        assert OTHER not in str(caught.value)

    def test_none_is_refused(self) -> None:
        with pytest.raises(Unauthenticated):
            identify(*self.KEYS, subject="alice")


class TestKeysFile:
    def read(self, folder: Path, content: Any) -> tuple[ApiKey, ...]:
        path = folder / "keys.json"
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, "utf-8")
        return load_api_keys(path)

    def test_a_good_one(self, tmp_path: Path) -> None:
        content = [{"name": "studio", "key": SECRET, "delegate": True}]
        assert self.read(tmp_path, content) == (ApiKey("studio", SECRET, delegate=True),)

    def test_two_keys_of_one_name_are_a_rotation(self, tmp_path: Path) -> None:
        content = [{"name": "a", "key": SECRET}, {"name": "a", "key": OTHER}]
        assert len(self.read(tmp_path, content)) == 2

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "{",
            "null",
            "7",
            "[]",
            "{}",
            '["key"]',
            [{"name": "a"}],
            [{"key": SECRET}],
            [{"name": "", "key": SECRET}],
            [{"name": 5, "key": SECRET}],
            [{"name": "a", "key": "short"}],
            [{"name": "a", "key": 1234567890123456}],
            [{"name": "a", "key": SECRET + " "}],
            [{"name": "a", "key": "schlüssel-schlüssel"}],
            [{"name": "a", "key": SECRET, "delegate": "false"}],
            [{"name": "a", "key": SECRET, "admin": True}],
            [{"name": "a", "key": SECRET}, {"name": "b", "key": SECRET}],
        ],
    )
    def test_a_bad_one_is_named_and_its_keys_are_not(self, tmp_path: Path, content: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            self.read(tmp_path, content)
        text = str(caught.value)
        assert text.startswith(str(tmp_path / "keys.json"))
        assert "\n" not in text
        assert SECRET not in text

    def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"keys\.json"):
            load_api_keys(tmp_path / "keys.json")


@pytest.mark.parametrize(
    ("peer", "address", "local"),
    [
        ("ipv4:10.0.0.7:5012", "10.0.0.7", False),
        ("ipv4:127.0.0.1:5012", "127.0.0.1", True),
        ("ipv6:%5B::1%5D:5012", "::1", True),
        ("ipv6:[2001:db8::1]:80", "2001:db8::1", False),
        ("unix:", "unix", True),
        ("unix:/tmp/a.sock", "unix", True),
        ("", "unknown", False),
        ("vsock:3:1", "vsock", False),
    ],
)
def test_addresses(peer: str, address: str, local: bool) -> None:
    assert peer_address(peer) == address
    assert is_local(address) is local
