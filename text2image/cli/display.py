"""Shows progress on stderr: a bar on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import os
import shutil
from typing import Protocol, TextIO

from text2image.cli.report import printable, seconds
from text2image.types import Progress, Queued

MAX_BAR_CHARACTERS = 30


class Display(Protocol):
    """Shows the progress of a generation."""

    def queued(self, event: Queued) -> None:
        """It waits."""

    def progress(self, event: Progress) -> None:
        """It goes on."""

    def say(self, text: str) -> None:
        """Print a permanent line."""

    def clear(self) -> None:
        """Remove the bar before something else is printed."""


def choose_display(quiet: bool, stream: TextIO) -> Display:
    """The display for a stream: no bar for TERM=dumb, which can't return to the line's start."""
    if quiet:
        return Silence()
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        return Bar(stream)
    return Lines(stream)


def describe_queued(event: Queued) -> str:
    if event.message:
        return printable(event.message)
    wait = f", about {seconds(event.estimated_wait_ms / 1000)}" if event.estimated_wait_ms else ""
    ahead = "next in the queue" if event.position == 0 else f"{event.position} ahead in the queue"
    return ahead + wait


def describe_progress(event: Progress) -> str:
    left = f", {seconds(event.eta_ms / 1000)} left" if event.eta_ms else ""
    return f"step {event.step}/{event.num_steps}{left}"


class Silence:
    """Shows nothing."""

    def queued(self, event: Queued) -> None: ...

    def progress(self, event: Progress) -> None: ...

    def say(self, text: str) -> None: ...

    def clear(self) -> None: ...


class Lines:
    """One line per change of the queue position and per 10 % of the steps, for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._tenth = -1

    def queued(self, event: Queued) -> None:
        self.say(describe_queued(event))

    def progress(self, event: Progress) -> None:
        tenth = 10 * event.step // max(1, event.num_steps)
        if tenth != self._tenth:
            self._tenth = tenth
            self.say(describe_progress(event))

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def clear(self) -> None: ...


class Bar:
    """One ASCII line that is overwritten, as wide as the terminal currently is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = False

    def queued(self, event: Queued) -> None:
        self._draw(describe_queued(event))

    def progress(self, event: Progress) -> None:
        text = describe_progress(event)
        room = min(MAX_BAR_CHARACTERS, _columns() - len(text) - 4)
        self._draw(f"{draw_bar(event, room)} {text}" if room >= 5 else text)

    def say(self, text: str) -> None:
        self.clear()
        print(text, file=self._stream, flush=True)

    def clear(self) -> None:
        if self._drawn:
            print("\r" + " " * (_columns() - 1) + "\r", end="", file=self._stream, flush=True)
        self._drawn = False

    def _draw(self, text: str) -> None:
        room = _columns() - 1  # a full line would wrap on some terminals
        print("\r" + text[:room].ljust(room), end="", file=self._stream, flush=True)
        self._drawn = True


def draw_bar(event: Progress, room: int) -> str:
    done = room * min(event.step, event.num_steps) // max(1, event.num_steps)
    return "[" + "#" * done + "-" * (room - done) + "]"


def _columns() -> int:
    return max(2, shutil.get_terminal_size().columns)
