"""Inputs that cost a server most, sent by eight clients at once until told to stop.

`python -m tests.support.worst_inputs GRPC_ADDRESS HTTP_ADDRESS SECONDS [NAME …]`: a process of its
own, so that sending does not slow whoever measures.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import httpx

from proto import text2image_pb2 as pb

SERVICE = "/text2image.Text2ImageService"
CLIENTS = 8
MEGABYTE = 2**20
BODY_BYTES = 248 * 1024

EMPTY_LORA = pb.GenerateImageRequest(loras=[pb.Lora()]).SerializeToString()
NAMES = json.dumps({f"n{n}": 1 for n in range(21_000)}).encode()
LORAS = b'{"prompt":"a","loras":[' + b"1," * 120_000 + b"1]}"
OBJECTS = b'{"prompt":"a","loras":[' + b"{}," * 80_000 + b"{}]}"
NO_PICTURE = b"\x89PNG" + bytes(3_900_000)
IN_BASE64 = base64.b64encode(NO_PICTURE).decode()
DEEP = b'{"loras":' + b"[" * BODY_BYTES


def bare_call(data: bytes, method: str = "GenerateImage") -> Callable[[Any, Any], Awaitable[str]]:
    async def send(channel: Any, http: httpx.AsyncClient) -> str:
        try:
            await channel.unary_unary(f"{SERVICE}/{method}")(data, timeout=60)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    return send


def post(path: str, body: bytes, **headers: str) -> Callable[[Any, Any], Awaitable[str]]:
    given = {"content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }

    async def send(channel: grpc.aio.Channel, http: httpx.AsyncClient) -> str:
        try:
            answer = await http.post(path, content=body, headers=given)
        except httpx.HTTPError as error:
            return type(error).__name__
        assert len(answer.content) < 16 * 1024, f"{path}: an answer of {len(answer.content)} bytes"
        return str(answer.status_code)

    return send


INPUTS: dict[str, Callable[[Any, Any], Awaitable[str]]] = {
    "two million LoRAs": bare_call(EMPTY_LORA * (2 * MEGABYTE)),
    "two million LoRAs, streamed": bare_call(EMPTY_LORA * (2 * MEGABYTE), "StreamGenerateImage"),
    "a million unknown fields": bare_call(b"\x78\x00" * (2 * MEGABYTE), "GetStatus"),
    "a prompt of 4 MB": bare_call(
        pb.GenerateImageRequest(prompt="🦊" * (MEGABYTE - 9)).SerializeToString()
    ),
    "names nobody knows": post(f"{SERVICE}/GenerateImage", NAMES),
    "LoRAs that are numbers": post(f"{SERVICE}/StreamGenerateImage", LORAS),
    "LoRAs that are empty": post(f"{SERVICE}/GenerateImage", OBJECTS),
    "brackets in brackets": post(f"{SERVICE}/GenerateImage", DEEP),
    "unknown parameters": post("/v1/images/generations", NAMES),
    "LoRAs as protobuf": post(
        f"{SERVICE}/GenerateImage",
        EMPTY_LORA * (BODY_BYTES // len(EMPTY_LORA)),
        content_type="application/proto",
    ),
    "a text of 250 KB": post(
        f"{SERVICE}/GenerateImage", json.dumps({"prompt": "a" * 250_000}).encode()
    ),
    "4 MB that are no picture": bare_call(
        pb.GenerateImageRequest(prompt="a", init_image=NO_PICTURE).SerializeToString()
    ),
    "4 MB that are no picture, in base64": post(
        f"{SERVICE}/GenerateImage", json.dumps({"prompt": "a", "initImage": IN_BASE64}).encode()
    ),
    "6 MB of commas": post(f"{SERVICE}/GenerateImage", b"," * 5_900_000),
    "a key of 60 KB": post(f"{SERVICE}/GetStatus", b"{}", authorization="Bearer " + "x" * 60_000),
}


async def attack(grpc_address: str, http_address: str, seconds: float, names: list[str]) -> None:
    """Send the inputs, each client its own order; prints what was answered how often."""
    told: Counter[str] = Counter()
    end = time.monotonic() + seconds

    async def client(number: int) -> None:
        options = (("grpc.use_local_subchannel_pool", 1),)
        async with (
            grpc.aio.insecure_channel(grpc_address, options) as channel,
            httpx.AsyncClient(
                base_url=f"http://{http_address}", timeout=60, trust_env=False
            ) as http,
        ):
            turn = number
            # together they send every input, however slow the machine
            while time.monotonic() < end or turn < number + len(names) - CLIENTS + 1:
                name = names[turn % len(names)]
                told[f"{name}: {await INPUTS[name](channel, http)}"] += 1
                turn += 1

    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(client(number))
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    grpc_address, http_address, seconds, *names = sys.argv[1:]
    asyncio.run(attack(grpc_address, http_address, float(seconds), names or [*INPUTS]))
