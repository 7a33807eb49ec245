"""Generates the guests' pictures, a few at a time; survives failures of the backend."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError

import client
from ui.failures import explain
from ui.job import QUEUE_PATIENCE_S
from ui.job_request import DEADLINE_S, options_of
from ui.recipe import Recipe
from ui.sessions.pace import Pace
from ui.sessions.room import Forming, GuestPicture, PictureState, Room
from ui.sessions.rules import Rules
from ui.sessions.sessions import Sessions
from ui.storage.gallery import Gallery
from ui.storage.picture import Unkeepable
from ui.storage.quota import QuotaFull

LOG = logging.getLogger("inkling.sessions")

LANES = 3  # concurrent pictures in the backend; more would only slow each down
LANES_ON_GPU = 8
PREVIEWS = 8  # approximate number per picture
RETRY_S = 1.0
SAVE_RETRY_S = 5.0
BEAT_S = 1.0
CLOSE_S = 3.0
PASSING = (client.Unavailable, client.QueueFull, client.DeadlineExceeded, client.Cancelled)
NO_ROOM = "The host's disk has no room for more pictures."


class Runner:
    """Threads that generate pictures from the queue, and one that reports its changes."""

    def __init__(
        self, sessions: Sessions, service: client.Text2ImageClient, gallery: Gallery
    ) -> None:
        self._sessions = sessions
        self._service = service
        self._gallery = gallery
        self._streams: dict[str, client.GenerationStream] = {}
        self._closed = threading.Event()
        self._on_gpu = False
        self._ended: set[str] = set()
        self.pace = Pace()
        self.trouble = ""  # why there is no progress at the moment, for the host
        self._threads = [
            threading.Thread(target=self._lane, args=(number,), name="session-lane", daemon=True)
            for number in range(LANES_ON_GPU)
        ]
        self._threads.append(threading.Thread(target=self._beat, name="session-beat", daemon=True))
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop; unfinished pictures continue at the next start."""
        self._closed.set()
        with self._sessions.work:
            self._sessions.work.notify_all()
        for stream in list(self._streams.values()):
            stream.cancel()
        end = time.monotonic() + CLOSE_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def rehearse(self, rules: Rules) -> None:
        """Generate a test picture, to predict the first guest's waiting time."""
        if self.pace.seconds is None:
            threading.Thread(target=self._rehearse, args=(rules,), daemon=True).start()

    def _rehearse(self, rules: Rules) -> None:
        begun_at = time.monotonic()
        width, height = rules.sizes[0] if rules.sizes else (None, None)
        try:
            self._service.generate(
                "a red apple",
                timeout=DEADLINE_S,
                width=width,
                height=height,
                num_inference_steps=rules.steps,
                guidance_scale=rules.guidance,
                scheduler=rules.scheduler or None,
                model=rules.model or None,
            )
        except (client.Text2ImageError, ValueError) as error:  # the channel may be closed
            LOG.info("no rehearsal: %s", error)
            return
        if self.pace.seconds is None:
            self.pace.finished(begun_at)
            self._sessions.feed.moved_everywhere()

    def _beat(self) -> None:
        while not self._closed.wait(BEAT_S):
            self._sessions.feed.beat()
            self._tell_ends()
            self._stop_cancelled()

    def _tell_ends(self) -> None:
        """A session ends by the clock: nobody does anything then."""
        ended = {room.session.id for room in self._sessions.all() if room.session.has_ended}
        for session_id in ended - self._ended:
            self._sessions.feed.everybody(session_id)
        self._ended = ended

    def _stop_cancelled(self) -> None:
        """Cancel the generation of pictures that were cancelled."""
        active = {p.id for room in self._sessions.all() for p in self._active(room)}
        for picture_id, stream in list(self._streams.items()):
            if picture_id not in active:
                stream.cancel()

    def _active(self, room: Room) -> list[GuestPicture]:
        with self._sessions.lock:
            return room.active()

    # Below: run on one of the threads.

    def _lane(self, number: int) -> None:
        while not self._closed.is_set():
            picture = self._take(number)
            if picture is None:
                continue
            try:
                self._make(picture)
            except Exception:
                LOG.exception("picture %s failed", picture.id)
                self._sessions.finish(picture, PictureState.FAILED, "Something went wrong here.")

    def _take(self, number: int) -> GuestPicture | None:
        with self._sessions.work:
            is_open = number < (LANES_ON_GPU if self._on_gpu else LANES)
            line = self._sessions.next_pictures() if is_open else []
            if not line:
                self._sessions.work.wait(30.0)
                return None
            self._sessions.begin(line[0], time.monotonic())
            return line[0]

    def _make(self, picture: GuestPicture) -> None:
        begun_at = time.monotonic()
        picture.forming = Forming()
        if self._was_made(picture):
            return
        try:
            image = self._generate(picture)
        except client.Text2ImageError as error:
            self._after(error, picture)
            return
        finally:
            self._streams.pop(picture.id, None)
        self.trouble = ""
        if image.nsfw_detected or not image.data:
            self._sessions.finish(picture, PictureState.WITHHELD)
        else:
            self._keep(picture, image, begun_at)
        self.pace.finished(begun_at)

    def _generate(self, picture: GuestPicture) -> client.Image:
        """Generate one picture, under the guest's own client name, for the backend's fairness."""
        recipe, made = picture.recipe, None
        guest, options = f"guest-{picture.guest_id}", options_of(recipe, PREVIEWS)
        stream = self._service.stream(recipe.prompt, timeout=DEADLINE_S, client=guest, **options)
        self._streams[picture.id] = stream
        for event in stream:
            match event:
                case client.Progress(step, num_steps, eta_ms, preview):
                    kept = picture.forming.preview if preview is None else preview.data
                    picture.forming = Forming(step, num_steps, eta_ms, kept)
                    self._sessions.progressed(picture)
                case client.FinishedImage(_, image):
                    made = image
                case client.Done(info):
                    self._on_gpu = info.device.startswith("cuda")
        if made is None:
            raise client.Unavailable("The stream ended without a picture.", "UNAVAILABLE")
        return made

    def _after(self, error: client.Text2ImageError, picture: GuestPicture) -> None:
        """After a temporary error put the picture back with the same seed, else let it fail."""
        if self._closed.is_set() or not picture.state.is_active:
            return
        if not isinstance(error, PASSING):
            failure = explain(error, picture.recipe)
            self._sessions.finish(picture, PictureState.FAILED, f"{failure.title}. {failure.text}")
            return
        self.trouble = explain(error, picture.recipe).title
        self._sessions.put_back(picture)
        self._closed.wait(min(error.retry_after_s or RETRY_S, QUEUE_PATIENCE_S))

    def _was_made(self, picture: GuestPicture) -> bool:
        """Whether the picture was already saved before the studio was killed."""
        room = self._sessions.get(picture.session_id)
        kept = room and self._gallery.get(room.session.gallery_owner, picture.id)
        if kept:
            self._sessions.finish(picture, PictureState.MADE)
        return bool(kept)

    def _keep(self, picture: GuestPicture, image: client.Image, begun_at: float) -> None:
        """Save to the gallery; retries while the disk is full."""
        while not self._closed.is_set():
            try:
                self._save(picture, image, begun_at)
            except (QuotaFull, Unkeepable) as error:
                LOG.error("a guest's picture could not be kept: %s", error)
                self.trouble = str(error)
                self._sessions.finish(picture, PictureState.FAILED, NO_ROOM)
                return
            except (OSError, SQLAlchemyError) as error:
                LOG.error("a guest's picture waits to be kept: %s", error)
                self.trouble = "Pictures can't be saved at the moment; trying again."
                self._closed.wait(SAVE_RETRY_S)
            else:
                return

    def _save(self, picture: GuestPicture, image: client.Image, begun_at: float) -> None:
        room = self._sessions.get(picture.session_id)
        if room is None or not picture.state.is_active:
            return
        made: Recipe = replace(
            picture.recipe, seed=image.seed, width=image.width, height=image.height
        )
        self._gallery.add(
            room.session.gallery_owner,
            image.data,
            made,
            picture_id=picture.id,
            job_id=picture.id,
            duration_ms=round((time.monotonic() - begun_at) * 1000),
        )
        self._sessions.finish(picture, PictureState.MADE)
