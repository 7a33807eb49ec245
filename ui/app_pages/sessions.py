"""The Sessions page: start a demo session and manage it while the wall is on the projector."""

from __future__ import annotations

from datetime import datetime

import streamlit as st
from streamlit import config

from ui.components import html
from ui.components.header import page_header
from ui.components.session_desk import CHOSEN, desk
from ui.components.session_form import start_form, tell_reach
from ui.session import owner, shared
from ui.sessions.room import Room


def main() -> None:
    rooms = {room.session.id: room for room in shared().sessions.all() if _may_see(room)}
    chosen = rooms.get(st.query_params.get(CHOSEN, ""))
    if chosen is not None:
        page_header(chosen.session.name, toast=False)
        desk(chosen)
        return
    page_header("Sessions", toast=False)
    _list(list(rooms.values()))
    _start()


def _may_see(room: Room) -> bool:
    """Whether the visitor may manage the room. If only hosts get here, all may manage all: a host's
    phone and laptop are two visitors."""
    settings = shared().settings
    is_shared = settings.oidc is None and not settings.is_open
    return is_shared or room.session.owner == owner()


def _list(rooms: list[Room]) -> None:
    for room in rooms:
        session = room.session
        started = datetime.fromtimestamp(session.created_at / 1000)
        with st.container(
            border=True, horizontal=True, vertical_alignment="center", key=f"session-{session.id}"
        ):
            state = "ended" if session.has_ended else "paused" if session.paused else "running"
            st.html(
                f'<p class="ink-said">{html.escape(session.name)}</p>'
                f'<p class="ink-negative">{state} · {started:%d %b, %H:%M} · '
                f"{len(room.guests)} guests · {len(room.pictures)} pictures</p>",
                width="stretch",
            )
            if st.button("Open", key=f"open-session-{session.id}"):
                _open(session.id)


def _start() -> None:
    st.html('<h2 class="ink-small">Start a session</h2>')
    st.markdown(
        "Guests join from their phones, type a prompt, and their pictures form live on the wall."
    )
    tell_reach(config.get_option("server.port"))
    wanted = start_form()
    if wanted is not None:
        name, theme, rules, minutes = wanted
        room = shared().sessions.start(owner(), name, theme, rules, minutes)
        shared().runner.rehearse(rules)
        _open(room.session.id)


def _open(session_id: str) -> None:
    st.query_params[CHOSEN] = session_id
    st.rerun()


main()
