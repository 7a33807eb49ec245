"""The host's list of guests: their pictures, and removing guests."""

from __future__ import annotations

import streamlit as st

from ui.components import html
from ui.session import shared
from ui.sessions.room import Guest, PictureState, Room

AT_ONCE = 50


def guests_table(room: Room) -> None:
    """One line per guest, the latest first."""
    with shared().sessions.lock:
        guests = list(room.guests.values())[::-1]
        told = {guest.id: _told(room, guest) for guest in guests}
    if not guests:
        st.html(html.empty("Nobody yet", "Show the wall: its code lets people in."))
        return
    for guest in guests[:AT_ONCE]:
        with st.container(horizontal=True, vertical_alignment="center", key=f"guest-{guest.id}"):
            st.html(
                f'<p class="ink-said">{html.escape(guest.nickname)}</p>'
                f'<p class="ink-negative">{told[guest.id]}</p>',
                width="stretch",
            )
            _buttons(room, guest)
    if len(guests) > AT_ONCE:
        st.caption(f"The latest {AT_ONCE} of {len(guests)}.")


def _told(room: Room, guest: Guest) -> str:
    own = room.of_guest(guest.id)
    made = sum(p.state is PictureState.MADE for p in own)
    left = max(0, room.session.rules.pictures_per_guest - len(room.counted(guest)))
    parts = [f"{made} made", f"{left} left"]
    if not guest.consents:
        parts.append("does not want to be shown")
    if guest.removed:
        parts.append("removed")
    return " · ".join(parts)


def _buttons(room: Room, guest: Guest) -> None:
    sessions, session_id = shared().sessions, room.session.id
    st.button(
        "Let in again" if guest.removed else "Reset",
        icon=":material/restart_alt:",
        key=f"reset-{guest.id}",
        help="The allowance begins anew.",
        on_click=sessions.reset_guest,
        args=(session_id, guest.id),
    )
    if not guest.removed:
        st.button(
            "Remove",
            icon=":material/person_remove:",
            key=f"remove-{guest.id}",
            help="No more pictures; what is on the wall is taken down.",
            on_click=sessions.remove_guest,
            args=(session_id, guest.id),
        )
