"""What a guest may ask for: the checks before a picture is queued, and its recipe."""

from __future__ import annotations

import unicodedata

from ui.recipe import Abilities, Recipe, fit
from ui.sessions.room import Guest, Room
from ui.sessions.rules import Rules

MAX_NICKNAME = 24
MAX_PROMPT = 400
JOINERS = "\u200c\u200d"


class Refused(Exception):
    """An action is refused; the message is a sentence for the guest.

    `code` is for the page, `until` the time when it will be possible (milliseconds since 1970).
    """

    def __init__(self, code: str, text: str, until: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.until = until


def nickname_of(text: str) -> str:
    """The nickname as it is shown.

    Raises:
        Refused: it is empty or too long.
    """
    name = tidy(text, 10 * MAX_NICKNAME)
    if not name or len(name) > MAX_NICKNAME:
        raise Refused("nickname", f"A nickname has 1 to {MAX_NICKNAME} characters.")
    return name


def check_may_ask(room: Room, guest: Guest, count: int) -> None:
    """Of a session that is open.

    Raises:
        Refused: says what to do, or when it will be possible.
    """
    rules = room.session.rules
    if guest.removed:
        raise Refused("removed", "The host has taken you off this session.")
    if room.session.paused:
        raise Refused("paused", "The host has paused for a moment. Your prompt is kept.")
    if not 1 <= count <= rules.pictures_per_request:
        most = rules.pictures_per_request
        raise Refused("count", f"At most {most} at a time.")
    left = rules.pictures_per_guest - len(room.counted(guest))
    if left < count:
        raise Refused("limit", "You have used up your pictures.", room.free_at(guest))
    if len(room.active()) + count > rules.max_waiting:
        raise Refused("queue", "The queue is full. Your prompt is kept: try again in a moment.")


def recipe_of(
    rules: Rules, prompt: str, size: tuple[int, int] | None, abilities: Abilities
) -> Recipe:
    """The recipe with all settings that the host has fixed.

    Raises:
        Refused: no prompt, a long one, or a size that is not offered.
    """
    text = tidy(prompt, 4 * MAX_PROMPT)
    if not text:
        raise Refused("prompt", "Say what the picture should show.")
    if len(text) > MAX_PROMPT:
        raise Refused("prompt", f"At most {MAX_PROMPT} characters; these are {len(text)}.")
    if size is not None and size not in rules.sizes:
        raise Refused("size", "This size is not offered here.")
    width, height = size or (rules.sizes[0] if rules.sizes else (0, 0))
    recipe = Recipe(
        prompt=text,
        width=width,
        height=height,
        steps=rules.steps,
        guidance=rules.guidance,
        scheduler=rules.scheduler,
        model=rules.model,
    )
    return fit(recipe, abilities)[0] if abilities.is_known else recipe


def tidy(text: str, most: int) -> str:
    """One line of visible characters, at most `most` long; may be empty.

    Removes control characters, including those for text direction, but keeps joiners of emoji and
    letters.
    """
    kept = (c if unicodedata.category(c)[0] != "C" or c in JOINERS else " " for c in text)
    line = " ".join("".join(kept).split())[:most]
    return line if line.strip(JOINERS + " ") else ""
