"""Who is calling, and who may not."""

from __future__ import annotations

from typing import Any

import pytest

from backend.errors import Unauthenticated
from backend.transport.access.keyring import Keyring
from backend.transport.access.keys import ApiKey, digest
from backend.transport.rpc.identity import Identifier, is_local, peer_address

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
    return Identifier(Keyring(keys)).identify(context).client


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
    KEYS = (ApiKey("studio", digest(SECRET), delegate=True), ApiKey("alice", digest(OTHER)))

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
