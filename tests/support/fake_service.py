"""A service whose behaviour tests script: the contract without a model.

    with FakeService(num_steps=4, queue=[1, 0]) as service:
        client = Text2ImageClient(service.address)

Change an attribute at any time; the next call sees it. Run as a module it serves for hand tests:
`python -m tests.support.fake_service --port 50051 --step-s 0.2`.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

import grpc
from google.protobuf import duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from proto import text2image_pb2 as pb
from proto import text2image_pb2_grpc
from tests.support.fake_answers import enlarged, finished, info, progress, ready_status, resolve

SERVICE = "text2image.Text2ImageService"
DETAILS = "grpc-status-details-bin"
PUSHBACK = "grpc-retry-pushback-ms"
SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10),
)


class Failure(NamedTuple):
    """A status with rich details, as the real service sends them."""

    code: grpc.StatusCode
    message: str
    details: tuple[Message, ...] = ()
    pushback_ms: int | None = None
    raw_details: bytes | None = None  # sent in place of the details

    def abort(self, context: Any) -> None:
        """End the call so. Always raises."""
        # Not abort_with_status: it drops every other trailing metadata.
        metadata: list[tuple[str, str | bytes]] = [(DETAILS, self._encode_details())]
        if self.pushback_ms is not None:
            metadata.append((PUSHBACK, str(self.pushback_ms)))
        context.set_trailing_metadata(metadata)
        context.abort(self.code, self.message)

    def _encode_details(self) -> bytes:
        if self.raw_details is not None:
            return self.raw_details
        number: int = self.code.value[0]
        status = status_pb2.Status(code=number, message=self.message)
        for detail in self.details:
            status.details.add().Pack(detail)
        encoded: bytes = status.SerializeToString()
        return encoded


def error_info(reason: str, **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain="text2image", metadata=metadata)


def retry_info(seconds: float) -> error_details_pb2.RetryInfo:
    delay = duration_pb2.Duration()
    delay.FromMilliseconds(round(seconds * 1000))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def bad_request(**fields: str) -> error_details_pb2.BadRequest:
    """One violation per field, with its sentence."""
    violation = error_details_pb2.BadRequest.FieldViolation
    return error_details_pb2.BadRequest(
        field_violations=[
            violation(field=name, description=text, reason="INVALID")
            for name, text in fields.items()
        ]
    )


@dataclass
class FakeService:
    """The behaviour: set what you need, leave the rest."""

    num_steps: int = 3  # where the request names none
    step_s: float = 0.0  # duration of one step
    queue: Sequence[int] = ()  # positions told before the first step
    queue_s: float = 0.0  # time at each position
    loading: str = ""  # told with every position
    nsfw: Sequence[int] = ()  # indices of pictures to withhold
    picture: bytes | None = None  # sent as it is, instead of a picture of the seed's colour
    failure: Failure | None = None  # how generations end
    failures_left: int | None = None  # how many of them do (None: all)
    fail_at_step: int = 0  # the steps that come before the failure
    hang_at_step: int | None = None  # stop here until the caller leaves
    hang_prompt: str | None = None  # where only this prompt's request does
    hold_at_step: int | None = None  # stop here until this is another
    warnings: Sequence[pb.GenerationWarning] = ()  # told with Done
    cut_short: bool = False  # end well, but without Done
    status_failure: Failure | None = None  # of GetStatus and CheckPrompt
    prompt_warnings: Mapping[str, Sequence[pb.GenerationWarning]] | None = None  # by prompt
    status: pb.GetStatusResponse = field(default_factory=ready_status)
    port: int = 0
    credentials: grpc.ServerCredentials | None = None  # serve with TLS

    # What was seen, written by the service's threads.
    requests: list[pb.GenerateImageRequest] = field(default_factory=list, init=False)
    checked: list[str] = field(default_factory=list, init=False)  # prompts
    upscaled: list[pb.UpscaleRequest] = field(default_factory=list, init=False)
    metadata: list[dict[str, str]] = field(default_factory=list, init=False)
    steps_done: int = field(default=0, init=False)
    active: int = field(default=0, init=False)
    cancelled: threading.Event = field(default_factory=threading.Event, init=False)
    address: str = field(default="", init=False)

    def start(self) -> str:
        """Serve on a port of 127.0.0.1, SERVING; returns HOST:PORT."""
        self._lock = threading.Lock()
        self._health = health.HealthServicer()
        self._server = grpc.server(futures.ThreadPoolExecutor(32), options=SERVER_OPTIONS)
        text2image_pb2_grpc.add_Text2ImageServiceServicer_to_server(_Servicer(self), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.set_serving(True)
        self.port = self._open_port(f"127.0.0.1:{self.port}")
        self._server.start()
        self.address = f"127.0.0.1:{self.port}"
        return self.address

    def _open_port(self, address: str) -> int:
        if self.credentials is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, self.credentials)

    def stop(self) -> None:
        """Stop at once; calls in flight end as UNAVAILABLE or CANCELLED."""
        self._server.stop(grace=0).wait()

    def set_serving(self, serving: bool) -> None:
        """What the health service says of our service."""
        states = health_pb2.HealthCheckResponse
        self._health.set(SERVICE, states.SERVING if serving else states.NOT_SERVING)

    def wait_cancelled(self, timeout: float = 30.0) -> bool:
        """Whether a generation was cancelled by its caller, soon."""
        return self.cancelled.wait(timeout)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @contextmanager
    def _one_call(
        self, request: pb.GenerateImageRequest, context: Any, ended: threading.Event
    ) -> Iterator[None]:
        with self._lock:
            self.requests.append(request)
            self.metadata.append({pair.key: pair.value for pair in context.invocation_metadata()})
            self.active += 1
        try:
            yield
        finally:
            if ended.is_set():
                self.cancelled.set()
            with self._lock:
                self.active -= 1

    def _take_failure(self) -> Failure | None:
        with self._lock:
            if self.failures_left is None:
                return self.failure
            if self.failures_left == 0:
                return None
            self.failures_left -= 1
            return self.failure


class _Servicer(text2image_pb2_grpc.Text2ImageServiceServicer):
    def __init__(self, service: FakeService) -> None:
        self._service = service

    def GetStatus(self, request: pb.GetStatusRequest, context: Any) -> pb.GetStatusResponse:
        if self._service.status_failure:
            self._service.status_failure.abort(context)
        status = pb.GetStatusResponse()
        status.CopyFrom(self._service.status)
        for model in status.models:
            if not request.include_abilities:
                model.ClearField("abilities")
                model.ClearField("figures")
        return status

    def Upscale(self, request: pb.UpscaleRequest, context: Any) -> pb.UpscaleResponse:
        self._service.upscaled.append(request)
        return pb.UpscaleResponse(image=enlarged(request), upscaler="fake")

    def CheckPrompt(self, request: pb.CheckPromptRequest, context: Any) -> pb.CheckPromptResponse:
        self._service.checked.append(request.prompt)
        if self._service.status_failure:
            self._service.status_failure.abort(context)
        found = (self._service.prompt_warnings or {}).get(request.prompt, ())
        return pb.CheckPromptResponse(warnings=found)

    def GenerateImage(
        self, request: pb.GenerateImageRequest, context: Any
    ) -> pb.GenerateImageResponse:
        images, info = [], None
        for event in self.StreamGenerateImage(request, context):
            if event.HasField("image"):
                images.append(event.image.image)
            elif event.HasField("done"):
                info = event.done
        return pb.GenerateImageResponse(images=images, info=info)

    def StreamGenerateImage(
        self, request: pb.GenerateImageRequest, context: Any
    ) -> Iterator[pb.GenerateImageEvent]:
        ended = threading.Event()  # set when the caller left
        context.add_callback(ended.set)
        with self._service._one_call(request, context, ended):
            resolved = resolve(request, self._service.num_steps)
            for event in self._story(resolved, context, ended):
                if ended.is_set():
                    return
                event.request_id = resolved.request_id
                yield event

    def _story(
        self, request: pb.GenerateImageRequest, context: Any, ended: threading.Event
    ) -> Iterator[pb.GenerateImageEvent]:
        service = self._service
        failure = service._take_failure()
        yield from self._wait_in_queue(ended)
        for step in range(request.num_inference_steps + 1):
            if failure and step == service.fail_at_step:
                failure.abort(context)
            if step == service.hang_at_step and service.hang_prompt in (None, request.prompt):
                ended.wait(60)
            while step == service.hold_at_step and not ended.wait(0.01):
                pass
            if step:
                ended.wait(service.step_s)
                service.steps_done += 1
                yield pb.GenerateImageEvent(progress=progress(request, step, service.step_s))
        for index in range(request.num_images):
            image = finished(request, index, index in service.nsfw, service.picture)
            event = pb.GenerateImageEvent.FinishedImage(index=index, image=image)
            yield pb.GenerateImageEvent(image=event)
        if not service.cut_short:
            yield pb.GenerateImageEvent(done=info(request, service.warnings))

    def _wait_in_queue(self, ended: threading.Event) -> Iterator[pb.GenerateImageEvent]:
        for position in self._service.queue:
            wait_ms = round((position + 1) * self._service.queue_s * 1000)
            queued = pb.GenerateImageEvent.Queued(
                position=position, estimated_wait_ms=wait_ms, message=self._service.loading
            )
            yield pb.GenerateImageEvent(queued=queued)
            ended.wait(self._service.queue_s)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve pictures of one colour, for hand tests.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--step-s", type=float, default=0.1, help="duration of one step")
    parser.add_argument("--num-steps", type=int, default=20)
    args = parser.parse_args()
    with FakeService(port=args.port, step_s=args.step_s, num_steps=args.num_steps) as service:
        print(service.address, flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
