"""Encodes previews and finished images on threads of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from backend import images
from backend.domain import Event, FinishedImage, GeneratedImage, Progress
from backend.engine.protocols import AnyModel, Picture, Pixels
from backend.engine.request import Request
from backend.errors import BackendError, GenerationFailed
from backend.mask import keep_unmasked

log = structlog.get_logger(__name__)

NUM_THREADS = 2  # Pillow releases the GIL


class Encoder:
    """Makes JPEG previews, and PNG or JPEG files that carry their provenance."""

    def __init__(
        self,
        model: AnyModel,
        version: str,
        deliver: Callable[[Request, Event], None],
        fail: Callable[[Request, BackendError], None],
    ) -> None:
        """Start the threads.

        Args:
            model: made the images; its description is written into their metadata.
            version: version of the service, written there too.
            deliver: called on an encoder thread with the event that carries the image.
            fail: called there with the error if there is none; `DeviceLost` among them.
        """
        self._model = model
        self._version = version
        self._deliver = deliver
        self._fail = fail
        self._threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="encoder")

    def add_preview(self, request: Request, event: Progress, pixels: Pixels) -> None:
        """Deliver `event` with `pixels` as its preview."""
        self._submit(request, lambda: self._preview(request, event, pixels))

    def add_picture(self, request: Request, index: int, picture: Picture) -> None:
        """Deliver the finished image `index`."""
        self._submit(request, lambda: self._picture(request, index, picture))

    def stop(self) -> None:
        """Drop what has not begun."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _submit(self, request: Request, make: Callable[[], Event]) -> None:
        def report(future: Future[Event]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if error is None:
                self._deliver(request, future.result())
            elif isinstance(error, BackendError):  # raised by the safety checker
                self._fail(request, error)
            else:
                log.error("encoding failed", request_id=request.id, exc_info=error)
                self._fail(request, GenerationFailed("encoding failed"))

        self._threads.submit(make).add_done_callback(report)

    def _preview(self, request: Request, event: Progress, pixels: Pixels) -> Progress:
        height, width = pixels.shape[:2]
        data = images.encode_preview(pixels)
        preview = GeneratedImage(data, "image/jpeg", width, height, request.params.seed)
        return Progress(event.step, event.num_steps, event.eta_ms, preview)

    def _picture(self, request: Request, index: int, picture: Picture) -> FinishedImage:
        params, seed = request.params, request.params.seed + index
        height, width = picture.pixels.shape[:2]
        data = b""
        if not picture.nsfw_detected:
            pixels = picture.pixels
            if params.mask is not None and params.init_image is not None:
                pixels = keep_unmasked(pixels, params.init_image.pixels, params.mask.pixels)
            provenance = images.Provenance(params, seed, self._model.info, self._version)
            data = images.encode(pixels, params.output_format, provenance)
        mime_type = params.output_format.mime_type
        image = GeneratedImage(data, mime_type, width, height, seed, picture.nsfw_detected)
        return FinishedImage(index, image)
