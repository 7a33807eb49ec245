"""The client class."""

from __future__ import annotations

import os
import threading
import time
import uuid
from types import TracebackType
from typing import Any, Self, Unpack

from grpc_health.v1 import health_pb2, health_pb2_grpc

from proto import text2image_pb2 as pb
from proto import text2image_pb2_grpc
from text2image.channel import SERVICE, Keepalive, Tls, open_channel
from text2image.convert import (
    request_to_pb,
    status_from_pb,
    syntax_to_pb,
    upscale_to_pb,
    upscaled_from_pb,
    warnings_from_pb,
)
from text2image.errors import (
    DeadlineExceeded,
    Incompatible,
    ModelFailed,
    NotFound,
    Unavailable,
    map_rpc_errors,
)
from text2image.status import ServiceStatus, State
from text2image.stream import GenerationStream
from text2image.targets import DEFAULT_ADDRESS, target_of
from text2image.types import (
    Generation,
    GenerationOptions,
    GenerationWarning,
    ImageFormat,
    PromptSyntax,
    Upscaled,
)

ADDRESS_VARIABLE = "TEXT2IMAGE_ADDRESS"
MAX_HEADER_CHARACTERS = 1000
POLL_S = 0.25

Metadata = tuple[tuple[str, str], ...]


class Text2ImageClient:
    """A client of one text-to-image service, or of several equal ones, over persistent connections.

    Thread-safe: create one instance and share it. It reconnects by itself. A generation that an
    unavailable service has not begun to answer is retried, with up to four attempts in total, after
    the delay that the service names.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        tls: Tls | None = None,
        api_key: str | None = None,
        client: str | None = None,
        keepalive: Keepalive | None = None,
    ) -> None:
        """Prepare the connection; it is opened by the first call.

        Args:
            address: HOST:PORT. Default: $TEXT2IMAGE_ADDRESS, else 127.0.0.1:50051. Several services
                share the calls in turn, without the unhealthy ones: "HOST:PORT,HOST:PORT", or
                "dns:///HOST:PORT" for a name with several addresses.
            tls: Encrypt with these files. Default: plain text.
            api_key: Sent with every call as `authorization: Bearer KEY`.
            client: Name of the client we call for, if the key is a delegate's.
            keepalive: How soon a dead peer is detected.

        Raises:
            ValueError: an argument is invalid.
            OSError: a file of `tls` can't be read.
        """
        self.address = address or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS
        self._authorization = _header("authorization", f"Bearer {api_key}") if api_key else ()
        self._client = client
        _client_header(client)
        self._target = target_of(self.address)
        self._closed = threading.Event()
        self._channel = open_channel(self._target, tls, keepalive or Keepalive())
        self._stub = text2image_pb2_grpc.Text2ImageServiceStub(self._channel)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)

    def status(
        self, *, timeout: float | None = 5.0, include_abilities: bool = False
    ) -> ServiceStatus:
        """Get the service's status; cheap enough to call every second. `timeout` is in seconds.

        `include_abilities` adds what the models can draw: about 100 kB that change only with a
        model's revision.

        Raises:
            Text2ImageError: for example Unavailable if the service does not answer.
        """
        with map_rpc_errors(self.address):
            message = self._stub.GetStatus(
                pb.GetStatusRequest(include_abilities=include_abilities),
                timeout=timeout,
                metadata=self._metadata(None),
            )
        return status_from_pb(message)

    def check_prompt(
        self,
        prompt: str,
        *,
        model: str = "",
        prompt_syntax: PromptSyntax = PromptSyntax.PLAIN,
        timeout: float | None = 5.0,
    ) -> tuple[GenerationWarning, ...]:
        """Get warnings for a prompt without generating; cheap enough to call while typing.

        Raises:
            Text2ImageError: for example Unavailable if the service does not answer.
        """
        with map_rpc_errors(self.address):
            message = self._stub.CheckPrompt(
                pb.CheckPromptRequest(
                    prompt=prompt, model=model, prompt_syntax=syntax_to_pb(prompt_syntax)
                ),
                timeout=timeout,
                metadata=self._metadata(None),
            )
        return warnings_from_pb(message.warnings)

    def upscale(
        self,
        image: bytes,
        scale: float = 2.0,
        *,
        upscaler: str = "",
        output_format: ImageFormat = ImageFormat.PNG,
        timeout: float | None = 60.0,
    ) -> Upscaled:
        """Enlarge a picture without drawing anything anew.

        `upscaler`: one of `ServiceStatus.upscalers`; empty: the first.

        Raises:
            Text2ImageError: for example InvalidRequest, if it can't be read or would be too large.
        """
        with map_rpc_errors(self.address):
            message = self._stub.Upscale(
                upscale_to_pb(image, scale, upscaler, output_format),
                timeout=timeout,
                metadata=self._metadata(None),
            )
        return upscaled_from_pb(message)

    def generate(
        self,
        prompt: str,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
        client: str | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Generation:
        """Generate images and wait for them. There is no size limit: each has its own message.

        Args:
            prompt: What the images should show.
            request_id: Identifies the request for retries. Default: a generated one.
            timeout: Seconds after which the service stops working on it. Default: none.
            client: Name of the client we call for, for this call only. Must be printable ASCII.
            options: The fields of `GenerationOptions`.

        Raises:
            Text2ImageError: the subclass names the problem.
        """
        stream = self.stream(
            prompt, request_id=request_id, timeout=timeout, client=client, **options
        )
        return stream.result()

    def stream(
        self,
        prompt: str,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
        client: str | None = None,
        **options: Unpack[GenerationOptions],
    ) -> GenerationStream:
        """Generate images and stream the events; takes the arguments of `generate`.

        Returns immediately; errors of the service are raised while iterating.

        Raises:
            InvalidRequest: a value doesn't fit its type in the proto file.
        """
        # With an id, a repeated call joins the first one instead of generating twice.
        request_id = request_id or uuid.uuid4().hex
        request = request_to_pb(prompt, request_id, options)
        metadata = self._metadata(client)

        def start(seconds_left: float | None) -> Any:
            return self._stub.StreamGenerateImage(request, timeout=seconds_left, metadata=metadata)

        end = None if timeout is None else time.monotonic() + timeout
        has_others = self._target.is_several
        return GenerationStream(
            start, request_id, self.address, end, self._closed, has_others=has_others
        )

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until the service can generate; `timeout` is in seconds.

        Raises:
            DeadlineExceeded: it was not ready in time.
            ModelFailed: the model failed to load.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while not self._is_serving(end):
            if end is not None and time.monotonic() + POLL_S > end:
                text = f"The service at {self.address} was not ready within {timeout:g} s."
                raise DeadlineExceeded(text, "DEADLINE_EXCEEDED")
            time.sleep(POLL_S)

    def _is_serving(self, end: float | None) -> bool:
        timeout = 5.0 if end is None else max(0.1, min(5.0, end - time.monotonic()))
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        try:
            with map_rpc_errors(self.address):
                answer = self._health.Check(request, timeout=timeout, metadata=self._metadata(None))
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return True
            status = self.status(timeout=timeout)
        except (Unavailable, DeadlineExceeded):
            return False
        except NotFound as error:
            text = f"What answers at {self.address} has no {SERVICE}."
            raise Incompatible(text, error.code) from error
        if status.state is State.FAILED:
            raise ModelFailed(status.message, "FAILED_PRECONDITION")
        return False

    def close(self) -> None:
        """Close the connection and cancel running generations."""
        self._closed.set()
        self._channel.close()

    def _metadata(self, client: str | None) -> Metadata:
        return (*self._authorization, *_client_header(client or self._client))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _client_header(client: str | None) -> Metadata:
    return _header("x-text2image-client", client) if client else ()


def _header(name: str, value: str) -> Metadata:
    """gRPC metadata must be printable ASCII. The error omits the value, which may be secret."""
    if not (value.isascii() and value.isprintable()) or len(value) > MAX_HEADER_CHARACTERS:
        raise ValueError(
            f"{name}: must be at most {MAX_HEADER_CHARACTERS} printable ASCII characters."
        )
    return ((name, value),)
