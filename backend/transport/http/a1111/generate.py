"""Runs a request of A1111's API, and answers as A1111 does."""

from __future__ import annotations

import base64
import json
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response

from backend.transport.http import protojson
from backend.transport.http.a1111 import options
from backend.transport.http.a1111.hires import SecondPass
from backend.transport.http.a1111.info import info_of
from backend.transport.http.a1111.request import Generation
from backend.transport.http.a1111.sessions import Job, Session, session_of
from backend.transport.http.a1111.upscalers import enlarge
from backend.transport.http.body import (
    media_type,
    parse_aside,
    read_body,
    unless_disconnected,
    unsupported_media_type,
)
from backend.transport.http.compression import respond
from backend.transport.http.picture import withheld
from backend.transport.http.problem import Json
from backend.transport.http.upstream import SERVICE, Upstream, caller_of
from proto import text2image_pb2 as pb

GENERATE = SERVICE.methods_by_name["StreamGenerateImage"]
GET_STATUS = SERVICE.methods_by_name["GetStatus"]


@dataclass
class Made:
    """The images of all rounds, and the info of the last completed round."""

    images: list[pb.Image] = field(default_factory=list)
    info: pb.GenerationInfo | None = None

    @property
    def nothing_to_show(self) -> bool:
        return bool(self.images) and all(image.nsfw_detected for image in self.images)


async def message_for(
    request: Request, asked: Generation
) -> tuple[pb.GenerateImageRequest, pb.GetStatusResponse]:
    """One round of what is asked for, and the status that it was made by.

    Raises:
        Problem: no such model or sampler, or too many images.
    """
    status = await status_of(request)
    asked.check_count(status)
    session = session_of(request)
    chosen = session.options | options.accept(asked.override_settings or {}, status.models)
    return asked.message(status, chosen), status


async def answer(
    request: Request,
    asked: Generation,
    message: pb.GenerateImageRequest,
    status: pb.GetStatusResponse,
    echo: Json,
) -> Response:
    """Run the rounds and answer as A1111 does; `echo`: the request's body."""
    session = session_of(request)
    second = asked.second_pass(message, status)
    running = _run(request, session, message, asked.num_rounds, second)
    made = await unless_disconnected(request, running)
    if made.nothing_to_show:
        raise withheld()
    return await respond(request, lambda: _answer(made, message, status, asked, echo, second))


async def read_json(request: Request) -> Json:
    """The body, a JSON object.

    Raises:
        Problem: 413, 415, 422.
    """
    if media_type(request) != "application/json":
        raise unsupported_media_type(("application/json",))
    return await parse_aside(await read_body(request), protojson.load)


async def status_of(request: Request) -> pb.GetStatusResponse:
    """The service's models, samplers and limits."""
    upstream: Upstream = request.app.state.upstream
    call = upstream.call(GET_STATUS, pb.GetStatusRequest(), caller_of(request))
    status: Message = await unless_disconnected(request, call)
    assert isinstance(status, pb.GetStatusResponse)
    return status


async def _run(
    request: Request,
    session: Session,
    message: pb.GenerateImageRequest,
    num_rounds: int,
    second: SecondPass | None,
) -> Made:
    """Run the rounds one after another, with consecutive seeds."""
    job = Job(num_rounds, message.num_inference_steps)
    made = Made()
    session.jobs.append(job)
    try:
        for number in range(num_rounds):
            job.begin(number)
            seed = _seed_after(made, message, number)
            await job.run(_round(request, message, seed, job, made, second))
            if job.was_interrupted:
                break
    finally:
        session.jobs.remove(job)
    return made


async def _round(
    request: Request,
    message: pb.GenerateImageRequest,
    seed: int | None,
    job: Job,
    made: Made,
    second: SecondPass | None,
) -> None:
    asked = pb.GenerateImageRequest()
    asked.CopyFrom(message)
    if seed is not None:
        asked.seed = seed
    if second is None:
        await _draw(request, asked, job, made)
        return
    first, lossless = Made(), pb.GenerateImageRequest()
    lossless.CopyFrom(asked)
    lossless.output_format = pb.IMAGE_FORMAT_PNG
    await _draw(request, lossless, job, first)
    for image in first.images:
        if image.nsfw_detected:
            made.images.append(image)
            continue
        enlarged = await enlarge(request, image.data, second.scale, second.network)
        await _draw(request, second.message(asked, image.seed, enlarged), job, made)


async def _draw(request: Request, message: pb.GenerateImageRequest, job: Job, made: Made) -> None:
    """One request; what comes is added to `made`."""
    upstream: Upstream = request.app.state.upstream
    events = upstream.stream(GENERATE, message, caller_of(request))
    async with aclosing(events):
        async for event in events:
            job.watch(event)
            if event.HasField("image"):
                made.images.append(event.image.image)
            elif event.HasField("done"):
                made.info = event.done


def _seed_after(made: Made, message: pb.GenerateImageRequest, number: int) -> int | None:
    """The seed of round `number`; None: as in `message` (round 0), or random."""
    if number == 0:
        return None
    per_round = max(1, message.num_images)
    if message.HasField("seed") and message.seed >= 0:
        return int(message.seed + number * per_round)
    return max(image.seed for image in made.images) + 1 if made.images else None


def _answer(
    made: Made,
    message: pb.GenerateImageRequest,
    status: pb.GetStatusResponse,
    asked: Generation,
    body: Json,
    second: SecondPass | None,
) -> bytes:
    shown = sorted((one for one in made.images if not one.nsfw_detected), key=lambda one: one.seed)
    sent = [] if asked.send_images is False else shown
    warnings = [*asked.warnings, *asked.upscaler_warnings(status)]
    info = info_of(shown, made.info, message, status, warnings)
    if second is not None:
        info["extra_generation_params"] = second.parameters
        info["batch_size"] = max(1, message.num_images)
    answer: dict[str, Any] = {
        "images": [base64.b64encode(image.data).decode() for image in sent],
        "parameters": body,
        "info": json.dumps(info),
    }
    return json.dumps(answer).encode()
