"""One client of several services: turns, health, and what happens when one of them leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from client import Text2ImageClient, Tls, Unavailable
from tests.support.fake_service import Failure, FakeService, error_info, retry_info
from tests.support.fakes import FakeModel
from tests.support.served import served
from text2image.targets import target_of

LATER_S = 30.0  # longer than a client waits silently


@pytest.fixture
def services() -> Iterator[tuple[FakeService, FakeService]]:
    with FakeService() as one, FakeService() as other:
        yield one, other


def listed(*services: FakeService) -> str:
    return ",".join(service.address for service in services)


def draw_until_both_served(client: Text2ImageClient, *services: FakeService) -> None:
    """The connections are made one after the other."""
    end = time.monotonic() + 60
    while not all(service.requests for service in services):
        assert time.monotonic() < end, "a service was never called"
        client.generate("x")
    for service in services:
        service.requests.clear()


def answers(client: Text2ImageClient) -> bool:
    try:
        client.status()
    except Unavailable:
        return False
    return True


def refuse(reason: str) -> Failure:
    details = (error_info(reason), retry_info(LATER_S))
    return Failure(grpc.StatusCode.UNAVAILABLE, "Not now.", details, int(LATER_S * 1000))


def test_calls_go_to_each_in_turn(services: tuple[FakeService, FakeService]) -> None:
    with Text2ImageClient(listed(*services)) as client:
        draw_until_both_served(client, *services)
        for _ in range(6):
            client.generate("x")
    assert [len(service.requests) for service in services] == [3, 3]


def test_one_that_is_not_healthy_is_left_out(services: tuple[FakeService, FakeService]) -> None:
    one, other = services
    one.set_serving(False)
    with Text2ImageClient(listed(one, other)) as client:
        for _ in range(5):
            client.generate("x")
        assert (len(one.requests), len(other.requests)) == (0, 5)
        one.set_serving(True)
        draw_until_both_served(client, one, other)


def test_one_that_ends_takes_nobody_with_it(services: tuple[FakeService, FakeService]) -> None:
    one, other = services
    with Text2ImageClient(listed(one, other)) as client:
        draw_until_both_served(client, one, other)
        one.stop()
        for _ in range(5):
            client.generate("x")
    assert len(other.requests) == 5


@pytest.mark.parametrize("reason", ["DRAINING", "MODEL_LOADING"])
def test_a_refusal_of_one_is_retried_at_another_at_once(
    services: tuple[FakeService, FakeService], reason: str
) -> None:
    one, other = services
    with Text2ImageClient(listed(one, other)) as client:
        draw_until_both_served(client, one, other)
        one.failure = refuse(reason)
        for _ in range(2):  # at least one of them is the refusing one's turn
            client.generate("x", timeout=10)
    assert len(one.requests) in (1, 2)
    assert len(other.requests) == 2


def test_a_single_service_is_given_the_time_it_asks_for(
    services: tuple[FakeService, FakeService],
) -> None:
    services[0].failure = refuse("DRAINING")
    with (
        Text2ImageClient(services[0].address) as client,
        pytest.raises(Unavailable) as caught,
    ):
        client.generate("x")
    assert caught.value.retry_after_s == LATER_S
    assert len(services[0].requests) == 1


def test_a_name_of_dns_is_balanced_too(services: tuple[FakeService, FakeService]) -> None:
    address = f"dns:///localhost:{services[0].port}"
    with Text2ImageClient(address) as client:
        client.wait_ready(timeout=10)
        assert client.generate("x").images
        services[0].set_serving(False)  # only who balances asks for health
        end = time.monotonic() + 60
        while answers(client):
            assert time.monotonic() < end, "an unhealthy service is still called"


@pytest.mark.parametrize(
    ("address", "name", "is_several"),
    [
        ("127.0.0.1:50051", "127.0.0.1:50051", False),
        ("127.0.0.1:50051, 127.0.0.2:50052", "ipv4:127.0.0.1:50051,127.0.0.2:50052", True),
        ("[::1]:1,[::1]:2", "ipv6:[::1]:1,[::1]:2", True),
        ("dns:///pictures:50051", "dns:///pictures:50051", True),
        ("unix:/run/a,b.sock", "unix:/run/a,b.sock", False),
        ("ipv4:10.0.0.1:1", "ipv4:10.0.0.1:1", False),
        ("ipv4:10.0.0.1:1,10.0.0.2:1", "ipv4:10.0.0.1:1,10.0.0.2:1", True),
    ],
)
def test_targets(address: str, name: str, is_several: bool) -> None:
    target = target_of(address)
    assert (target.name, target.is_several) == (name, is_several)


@pytest.mark.parametrize("address", ["a:1,", ",a:1", "a:1,b", "a:1,http://b:1", "a:1;b:1"])
def test_a_list_with_a_hole_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="An address is HOST:PORT"):
        Text2ImageClient(address)


def test_a_list_whose_names_have_no_common_kind_of_address_is_refused() -> None:
    with pytest.raises(ValueError, match="addresses of one family"):
        Text2ImageClient("127.0.0.1:1,[::1]:1")


def test_tls_needs_a_name_that_all_share(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dns:///HOST:PORT"):
        Text2ImageClient("127.0.0.1:1,127.0.0.1:2", tls=Tls())


async def test_two_real_servers_share_requests_and_one_drains() -> None:
    """The health service is asked without a key; draining loses nobody's request."""
    async with served() as one, served() as other:
        models: tuple[FakeModel, FakeModel] = (one.model, other.model)

        def draw(client: Text2ImageClient, prompt: str) -> None:
            assert len(client.generate(prompt, num_inference_steps=2, timeout=20).images) == 1

        def drawn() -> list[int]:
            return [len(model.decoded) for model in models]

        with Text2ImageClient(f"{one.address},{other.address}") as client:
            for number in range(200):
                await asyncio.to_thread(draw, client, f"first {number}")
                if all(drawn()):
                    break
            before = drawn()
            assert all(before)
            leaving = asyncio.create_task(one.drain())
            for number in range(8):
                await asyncio.to_thread(draw, client, f"second {number}")
            await leaving
            assert sum(drawn()) == sum(before) + 8
