"""Many clients at once against a live service, and the same pictures as alone.

    python -m tests.concurrency --address 127.0.0.1:50051

sends bounded traffic, prints a small report, and exits with 1 where something was not as it
must be. pytest collects the same checks against a server of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from proto import text2image_pb2 as pb
from proto import text2image_pb2_grpc as pb_grpc

PROMPTS = ("a red apple", "ein Füchslein im Schnee 🦊", "blue sky, white clouds", "an owl")
TIMEOUT_S = 600.0
CLIENT_HEADER = "x-text2image-client"
LOCAL = ("127.0.0.1", "localhost", "[::1]")
GREEDY = 24  # pictures: more than a batch holds, so that some wait


@dataclass
class Report:
    """What was seen; `faults` is empty where all is well."""

    answered: int = 0
    cancelled: int = 0
    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    compared: int = 0
    most_waiting: int = 0
    faults: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        latencies = sorted(self.latencies_s) or [0.0]
        return [
            f"answered    {self.answered} requests in {self.seconds:.1f} s",
            f"cancelled   {self.cancelled}",
            f"latency     median {statistics.median(latencies):.2f} s, "
            f"longest {latencies[-1]:.2f} s",
            f"queue       {self.most_waiting} at most",
            f"compared    {self.compared} pictures with the same request alone",
            *(f"FAULT       {fault}" for fault in self.faults),
            "not as it must be" if self.faults else "all as it must be",
        ]


class Crowd:
    """Clients of one service, each with a connection of its own."""

    def __init__(self, address: str, clients: int, requests: int, seed: int = 1) -> None:
        self.address = address
        self.clients = clients
        self.requests = requests
        self.seed = seed
        self.report = Report()

    async def run(self) -> Report:
        """All checks, one after another."""
        async with self._stub() as stub:
            status = await stub.GetStatus(pb.GetStatusRequest(), timeout=30)
            wanted = self._mixed(status)
            alone = [await self._pictures(stub, request) for request in wanted[: self.clients]]
            started = time.monotonic()
            together = await self._all_at_once(wanted)
            self.report.seconds = time.monotonic() - started
            self._compare(wanted, alone, together)
            await self._cancel_some(stub)
            await self._check_counters(stub, status)
        return self.report

    def _mixed(self, status: pb.GetStatusResponse) -> list[pb.GenerateImageRequest]:
        """Requests that differ in every parameter that may differ."""
        model = status.models[0]
        size = (model.native_height, model.native_width)
        return [
            pb.GenerateImageRequest(
                prompt=PROMPTS[number % len(PROMPTS)],
                negative_prompt="blurry" if number % 3 == 0 else "",
                height=size[0],
                width=size[1],
                seed=self.seed + number,
                num_inference_steps=4 + number % 4,
                guidance_scale=(7.5, 1.0, 3.0)[number % 3],
                num_images=1 + (number % 5 == 0),
                scheduler=status.schedulers[number % len(status.schedulers)],
                output_format=pb.IMAGE_FORMAT_PNG,
                preview_interval=number % 2,
            )
            for number in range(self.requests)
        ]

    async def _all_at_once(
        self, wanted: Sequence[pb.GenerateImageRequest]
    ) -> list[list[bytes] | None]:
        """Every client sends its share, all of it at once."""
        results: list[list[bytes] | None] = [None] * len(wanted)

        async def one_client(name: int) -> None:
            async with self._stub() as stub:
                metadata = ((CLIENT_HEADER, f"crowd-{name}"),)
                numbers = range(name, len(wanted), self.clients)
                calls = [self._timed(stub, wanted[n], metadata) for n in numbers]
                for n, result in zip(numbers, await asyncio.gather(*calls), strict=True):
                    results[n] = result

        watching = asyncio.ensure_future(self._watch_queue())
        await asyncio.gather(*(one_client(name) for name in range(self.clients)))
        watching.cancel()
        return results

    async def _timed(
        self, stub: Any, request: pb.GenerateImageRequest, metadata: Any
    ) -> list[bytes] | None:
        started = time.monotonic()
        try:
            pictures = await self._pictures(stub, request, metadata)
        except grpc.aio.AioRpcError as error:
            self.report.faults.append(f"{error.code().name}: {error.details()}")
            return None
        self.report.answered += 1
        self.report.latencies_s.append(time.monotonic() - started)
        return pictures

    async def _pictures(
        self, stub: Any, request: pb.GenerateImageRequest, metadata: Any = ()
    ) -> list[bytes]:
        """The raw pixels of every picture, in the order of their seeds."""
        found: dict[int, bytes] = {}
        call = stub.StreamGenerateImage(
            request, timeout=TIMEOUT_S, metadata=metadata, wait_for_ready=True
        )
        async for event in call:
            if event.WhichOneof("event") == "image":
                found[event.image.index] = pixels(event.image.image)
        return [found[index] for index in sorted(found)]

    async def _watch_queue(self) -> None:
        async with self._stub() as stub:
            while True:
                status = await stub.GetStatus(pb.GetStatusRequest(), timeout=30)
                self.report.most_waiting = max(self.report.most_waiting, status.queue.queued)
                await asyncio.sleep(0.05)

    def _compare(
        self,
        wanted: Sequence[pb.GenerateImageRequest],
        alone: Sequence[list[bytes]],
        together: Sequence[list[bytes] | None],
    ) -> None:
        for request, single, crowded in zip(wanted, alone, together, strict=False):
            if crowded is None:
                continue
            self.report.compared += len(single)
            if len(crowded) != request.num_images or not same(single, crowded):
                self.report.faults.append(f"seed {request.seed}: another picture in the crowd")

    async def _cancel_some(self, stub: Any) -> None:
        """Long requests, left after their first step, and one that must not be held up."""
        requests = [
            pb.GenerateImageRequest(prompt="leaving", num_inference_steps=100, seed=number)
            for number in range(self.clients)
        ]
        for request in requests:
            call = stub.StreamGenerateImage(request, timeout=TIMEOUT_S)
            async for event in call:
                if event.WhichOneof("event") == "progress":
                    break
            call.cancel()
            self.report.cancelled += 1
        async with asyncio.timeout(TIMEOUT_S):
            while (await stub.GetStatus(pb.GetStatusRequest(), timeout=30)).queue.running:
                await asyncio.sleep(0.05)

    async def _check_counters(self, stub: Any, before: pb.GetStatusResponse) -> None:
        """Nothing is lost: received = completed + failed + cancelled + rejected + in hand."""
        status = await stub.GetStatus(pb.GetStatusRequest(), timeout=30)
        counted, queue = status.counters, status.queue
        ended = counted.completed + counted.failed + counted.cancelled + counted.rejected
        if counted.received != ended + queue.queued + queue.running:
            self.report.faults.append(f"the counters do not add up: {counted}")
        cancelled = counted.cancelled - before.counters.cancelled
        if cancelled < self.report.cancelled:
            self.report.faults.append(f"only {cancelled} of {self.report.cancelled} were freed")

    @asynccontextmanager
    async def _stub(self) -> AsyncIterator[Any]:
        options = (("grpc.use_local_subchannel_pool", 1),)
        async with grpc.aio.insecure_channel(self.address, options) as channel:
            yield pb_grpc.Text2ImageServiceStub(channel)


def pixels(image: pb.Image) -> bytes:
    """Shape and values."""
    array = np.asarray(Image.open(io.BytesIO(image.data)))
    return repr(array.shape).encode() + array.tobytes()


def same(alone: Sequence[bytes], crowded: Sequence[bytes]) -> bool:
    """Equal, pixel by pixel."""
    return list(alone) == list(crowded)


def main(argv: Sequence[str] | None = None) -> int:
    """Run against a live service; 1 where something is not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.concurrency", description=__doc__)
    parser.add_argument("--address", default="127.0.0.1:50051", help="HOST:PORT on this machine")
    parser.add_argument("--clients", type=int, default=4, choices=range(1, 33), metavar="1..32")
    parser.add_argument("--requests", type=int, default=24, choices=range(1, 257), metavar="1..256")
    args = parser.parse_args(argv)
    if args.address.rpartition(":")[0] not in LOCAL:
        parser.error("--address must be on this machine")
    try:
        report = asyncio.run(Crowd(args.address, args.clients, args.requests).run())
    except grpc.aio.AioRpcError as error:
        print(f"{args.address}: {error.code().name}: {error.details()}", file=sys.stderr)
        return 1
    print("\n".join(report.lines()))
    return 1 if report.faults else 0


# As tests


@pytest.fixture
async def address(tiny_diffusion: Any) -> AsyncIterator[str]:
    from backend.engine.cost import CostModel
    from backend.engine.loading import Loaded, OnProgress
    from tests.support.served import served

    def load(on_progress: OnProgress) -> Loaded:
        return Loaded(tiny_diffusion, CostModel())

    async with served(load=load) as running:
        yield running.address


async def test_a_crowd_is_answered_with_the_same_pictures_as_alone(address: str) -> None:
    report = await Crowd(address, clients=4, requests=16).run()
    assert report.faults == []
    assert (report.answered, report.cancelled) == (16, 4)
    assert report.compared >= 4
    assert report.most_waiting > 0


async def test_nobody_waits_for_another_clients_whole_batch(address: str) -> None:
    """One client asks for more than any batch holds, another for one picture, a little later."""
    finished: list[str] = []

    async def picture(stub: Any, name: str, number: int) -> None:
        request = pb.GenerateImageRequest(prompt=name, num_inference_steps=6, seed=number)
        metadata = ((CLIENT_HEADER, name),)
        await stub.GenerateImage(request, timeout=TIMEOUT_S, metadata=metadata)
        finished.append(name)

    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = pb_grpc.Text2ImageServiceStub(channel)
        greedy = [asyncio.ensure_future(picture(stub, "greedy", n)) for n in range(GREEDY)]
        while (await stub.GetStatus(pb.GetStatusRequest())).queue.queued < 8:
            await asyncio.sleep(0.005)
        await picture(stub, "polite", 0)
        await asyncio.gather(*greedy)
    assert finished.index("polite") < GREEDY - 1


def test_a_picture_that_differs_is_a_fault() -> None:
    crowd = Crowd("127.0.0.1:1", clients=1, requests=1)
    request = pb.GenerateImageRequest(num_images=1, seed=7)
    crowd._compare([request], [[b"one"]], [[b"two"]])
    assert crowd.report.faults == ["seed 7: another picture in the crowd"]
    assert "not as it must be" in crowd.report.lines()


def test_the_script_says_in_one_line_when_nobody_answers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--address", "127.0.0.1:1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("127.0.0.1:1: UNAVAILABLE")


@pytest.mark.parametrize("address", ["example.com:50051", "10.0.0.1:1", "50051"])
def test_it_sends_its_traffic_to_this_machine_alone(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--address", address])
    assert "must be on this machine" in capsys.readouterr().err


if __name__ == "__main__":
    sys.exit(main())
