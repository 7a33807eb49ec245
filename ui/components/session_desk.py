"""The host's view of one running or finished session."""

from __future__ import annotations

from datetime import datetime

import streamlit as st
from streamlit import config

from ui.components import html
from ui.components.session_form import limits_form, tell_reach
from ui.components.session_guests import guests_table
from ui.components.session_pictures import pictures
from ui.session import shared
from ui.sessions import album
from ui.sessions.answers import qr_svg
from ui.sessions.codes import spoken
from ui.sessions.passes import Passes
from ui.sessions.room import PictureState, Room, Session, now_ms
from ui.web import base_path

REFRESH_S = 2
PARTS = ["Pictures", "Guests", "Limits"]
CHOSEN = "session"


def desk(room: Room) -> None:
    """Show everything about one session."""
    session = room.session
    st.button("All sessions", icon=":material/arrow_back:", key="all-sessions", on_click=leave)
    st.fragment(_live, run_every=None if session.has_ended else REFRESH_S)(room)
    part = st.segmented_control(
        "Part", PARTS, default=PARTS[0], key="session-part", label_visibility="collapsed"
    )
    refresh = None if session.has_ended else REFRESH_S
    if part == "Guests":
        st.fragment(guests_table, run_every=refresh)(room)
    elif part == "Limits":
        _limits(session)
    else:
        st.fragment(pictures, run_every=refresh)(room)
    st.fragment(_album, run_every=refresh)(room)


def leave() -> None:
    st.query_params.pop(CHOSEN, None)


def _live(room: Room) -> None:
    session = room.session
    with st.container(key="session-top"):
        join, state = st.columns([1, 1.6], gap="large")
        with join:
            _way_in(session)
        with state:
            _state(room)


def _way_in(session: Session) -> None:
    base = base_path(config.get_option("server.baseUrlPath"))
    if session.has_ended:
        st.html(
            '<p class="ink-said">This session is over.</p>'
            '<p class="ink-negative">Its pictures stay on the wall, and the album is below.</p>'
        )
        _open_wall(base, session)
        return
    code = spoken(session.code)
    st.html(
        f'<div class="ink-join"><img src="{base}/s/qr?code={session.code}'
        f'&for={html.escape(session.rules.address)}" alt="QR code of the join page" width="200" '
        f'height="200"><div><p>Code</p><strong>{code}</strong>'
        f"<p>{html.escape(session.join_link)}</p></div></div>"
    )
    with st.container(horizontal=True):
        _open_wall(base, session)
        st.link_button(
            "Join page", f"{base}/join?code={session.code}", icon=":material/smartphone:"
        )


def _open_wall(base: str, session: Session) -> None:
    wall = f"{base}/wall?code={session.code}"
    st.link_button("Open the wall", wall, icon=":material/tv:", type="primary")


def _state(room: Room) -> None:
    sessions, session = shared().sessions, room.session
    with sessions.lock:
        waiting = sum(p.state is PictureState.WAITING for p in room.active())
        running = len(room.active()) - waiting
        made = sum(p.state is PictureState.MADE for p in room.pictures.values())
        guests = len(room.guests)
    pace = shared().runner.pace.seconds
    tiles = (
        ("Guests", guests, "have joined"),
        ("Forming", running, f"{waiting} waiting"),
        ("Pictures", made, "made" if pace is None else f"one each {html.seconds(pace * 1000)}"),
        ("Ends" if not session.has_ended else "Ended", _clock(session.ends_at), _left(session)),
    )
    st.html('<div class="ink-tiles ink-four">' + "".join(_tile(*t) for t in tiles) + "</div>")
    if shared().runner.trouble and waiting and not session.has_ended:
        st.warning(
            f"{html.plain(shared().runner.trouble)}. Nothing is lost: it goes on by itself.",
            icon=":material/cloud_off:",
        )
    if not session.has_ended:
        if session.paused:
            st.html('<p class="ink-note">Paused: nobody can ask, and nothing new is made.</p>')
        _controls(session)


def _controls(session: Session) -> None:
    change = shared().sessions.change
    with st.container(horizontal=True):
        if session.paused:
            st.button(
                "Resume",
                icon=":material/play_arrow:",
                key="resume",
                type="primary",
                on_click=lambda: change(session.id, paused=False),
            )
        else:
            st.button(
                "Pause",
                icon=":material/pause:",
                key="pause",
                on_click=lambda: change(session.id, paused=True),
            )
        st.button(
            "15 minutes more",
            icon=":material/more_time:",
            key="prolong",
            on_click=lambda: change(session.id, ends_at=session.ends_at + 900_000),
        )
        with st.popover("End", icon=":material/stop:"):
            st.markdown("What waits is still made; nobody can ask for more.")
            if st.button("End the session", key="end", type="primary"):
                change(session.id, ends_at=now_ms())
                st.rerun()


def _limits(session: Session) -> None:
    tell_reach(config.get_option("server.port"))
    rules = limits_form(session)
    if rules is not None:
        shared().sessions.change(session.id, rules=rules)
        st.toast("Saved. It holds from the next picture on.", icon=":material/check:")
    _other_device(session)


def _other_device(session: Session) -> None:
    """How the host opens this page on a phone."""
    settings = shared().settings
    if settings.oidc is not None or settings.is_open:
        return
    passes = Passes(shared().signer, settings.host_password)
    with st.expander("Look after the session from your phone", icon=":material/phonelink:"):
        st.markdown(
            "Scan this with your own phone within a quarter of an hour, and keep it off the "
            "projector: it opens the whole studio."
        )
        link = f"{session.rules.address}/host?key={passes.link()}"
        st.image(qr_svg(link).decode(), width=220)
        st.markdown(
            f"Or open {html.plain(session.rules.address)}/host and give the password "
            f"`{passes.password}`."
        )


def _album(room: Room) -> None:
    session = room.session
    with shared().sessions.lock:
        shown = len(room.on_wall())
    st.html('<h2 class="ink-small">Album</h2>')
    with st.container(horizontal=True, vertical_alignment="center", key="album"):
        st.download_button(
            f"Download the album ({shown})",
            data=lambda: album.make(shared().sessions, shared().gallery, room),
            file_name=album.file_name(session),
            mime="application/zip",
            key="album-zip",
            on_click="ignore",
            icon=":material/folder_zip:",
            disabled=not shown,
        )
        with st.popover("Delete the session", icon=":material/delete:"):
            st.markdown("Removes its guests and all of their pictures, for good.")
            if st.button("Delete everything", key="delete-session", type="primary"):
                shared().sessions.delete(session.id)
                leave()
                st.rerun()
    st.caption(
        "What is on the wall: the original files with their settings, a contact sheet, and a page "
        "that opens in any browser."
    )


def _tile(title: str, value: object, hint: str) -> str:
    return (
        f'<section class="ink-tile"><p>{html.escape(title)}</p>'
        f"<strong>{html.escape(value)}</strong><small>{html.escape(hint)}</small></section>"
    )


def _clock(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000).strftime("%H:%M")


def _left(session: Session) -> str:
    if session.has_ended:
        return ""
    return f"in {html.seconds(max(0, session.ends_at - now_ms()) // 60_000 * 60_000 + 60_000)}"
