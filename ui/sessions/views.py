"""The data for wall and guest pages, as plain values for JSON."""

from __future__ import annotations

import base64
from typing import Any

from ui.sessions.codes import spoken
from ui.sessions.room import Guest, GuestPicture, PictureState, Room, Verdict

WALL_PICTURES = 60
GUEST_PICTURES = 60


def about(room: Room) -> dict[str, Any]:
    """Facts about the session."""
    session = room.session
    return {
        "name": session.name,
        "theme": session.theme,
        "code": spoken(session.code),
        "link": session.rules.address.partition("//")[2] + "/join",
        "paused": session.paused,
        "ended": session.has_ended,
        "moderated": session.rules.approve_first,
    }


def wall(room: Room) -> dict[str, Any]:
    """All data of the wall."""
    return {
        **about(room),
        "waiting": sum(p.state is PictureState.WAITING for p in room.active()),
        "people": len({p.guest_id for p in room.on_wall()}),
        "total": len(room.on_wall()),
        "forming": [_forming(room, p) for p in _running(room)],
        "pictures": [_shown(room, p) for p in wall_pictures(room)],
    }


def wall_pictures(room: Room) -> list[GuestPicture]:
    """The newest pictures, and all highlighted ones."""
    found = room.on_wall()
    older = [p for p in found[WALL_PICTURES:] if p.highlighted]
    return found[:WALL_PICTURES] + older


def guest(room: Room, who: Guest, seconds: float | None) -> dict[str, Any]:
    """All data of a guest's page; `seconds` is the time per picture."""
    rules = room.session.rules
    free_at = room.free_at(who)
    return {
        **about(room),
        "nickname": who.nickname,
        "consents": who.consents,
        "removed": who.removed,
        "left": max(0, rules.pictures_per_guest - len(room.counted(who))),
        "allowance": rules.pictures_per_guest,
        "minutes": rules.per_minutes,
        "count": rules.pictures_per_request,
        "free_at": free_at,
        "sizes": [f"{width}x{height}" for width, height in rules.sizes],
        "ends_at": room.session.ends_at,
        "line": line(room, who.id, seconds),
        "pictures": [_own(room, p, seconds) for p in _latest(room, who)],
    }


def line(room: Room, guest_id: str, seconds: float | None) -> dict[str, Any]:
    """The queue as the guest sees it, with the predicted wait of a new request."""
    before = room.before(guest_id)
    places, counts = room.places()
    is_full = counts.total() >= room.session.rules.max_waiting
    own = {p.id: places[p.id] for p in room.of_guest(guest_id) if p.id in places}
    return {
        "before": before,
        "seconds": None if seconds is None else round((before + 1) * seconds),
        "each": None if seconds is None else round(seconds, 1),
        "full": is_full,
        "places": own,
    }


def progress(picture: GuestPicture, is_plain: bool) -> dict[str, Any]:
    """A picture's progress, without preview if it is not approved yet."""
    forming = picture.forming
    told: dict[str, Any] = {
        "id": picture.id,
        "step": forming.step,
        "steps": forming.num_steps,
        "eta": forming.eta_ms,
    }
    if is_plain and forming.preview is not None:
        told["preview"] = "data:image/jpeg;base64," + base64.b64encode(forming.preview).decode()
    return told


def is_plain(room: Room, picture: GuestPicture) -> bool:
    """Whether the wall may show the preview and the guest's name."""
    return room.is_public(picture) and picture.verdict is Verdict.SHOWN


def _running(room: Room) -> list[GuestPicture]:
    return [p for p in room.active() if p.state is PictureState.RUNNING and room.is_public(p)]


def _forming(room: Room, picture: GuestPicture) -> dict[str, Any]:
    plain = is_plain(room, picture)
    told = progress(picture, plain)
    if plain:
        told |= {"prompt": picture.recipe.prompt, "by": room.guests[picture.guest_id].nickname}
    return told


def _shown(room: Room, picture: GuestPicture) -> dict[str, Any]:
    return {
        "id": picture.id,
        "prompt": picture.recipe.prompt,
        "by": room.guests[picture.guest_id].nickname,
        "link": room.session.picture_link(picture.id).partition("//")[2],
        "large": picture.highlighted,
        "at": picture.finished_at,
    }


def _latest(room: Room, who: Guest) -> list[GuestPicture]:
    return room.of_guest(who.id)[::-1][:GUEST_PICTURES]


def _own(room: Room, picture: GuestPicture, seconds: float | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": picture.id,
        "prompt": picture.recipe.prompt,
        "state": picture.state.value,
        "error": picture.error,
        "wall": room.is_on_wall(picture),
        "pending": picture.verdict is Verdict.PENDING,
        "hidden": picture.verdict is Verdict.HIDDEN,
    }
    if picture.state is PictureState.RUNNING:
        told |= progress(picture, is_plain=True)
    return told
