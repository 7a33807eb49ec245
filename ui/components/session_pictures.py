"""The host's view of the guests' pictures: approve, hide, highlight."""

from __future__ import annotations

import streamlit as st

from ui.components import html
from ui.session import address, shared
from ui.sessions.room import GuestPicture, PictureState, Room, Verdict

TO_APPROVE, ON_WALL, QUEUE, OTHERS = "To approve", "On the wall", "Queue", "Hidden"
AT_ONCE = 24
THUMBNAIL = 112  # px


def pictures(room: Room) -> None:
    """One card per picture, grouped by state."""
    with shared().sessions.lock:
        groups = _groups(room)
    kinds = [kind for kind in (TO_APPROVE, ON_WALL, QUEUE, OTHERS) if groups[kind]]
    if not kinds:
        st.html(html.empty("No pictures yet", "They appear here while guests make them."))
        return
    kind = st.segmented_control(
        "Which",
        kinds,
        default=kinds[0],
        format_func=lambda name: f"{name} ({len(groups[name])})",
        key=f"session-kind-{len(kinds)}",
        label_visibility="collapsed",
    )
    found = groups[kind or kinds[0]]
    if kind == TO_APPROVE and len(found) > 1:
        st.button(
            f"Approve all {len(found)}",
            icon=":material/done_all:",
            key="approve-all",
            on_click=_judge,
            args=(room, [p.id for p in found], Verdict.SHOWN),
        )
    columns = st.columns(2)
    for number, picture in enumerate(found[:AT_ONCE]):
        with columns[number % 2]:
            _card(room, picture)
    if len(found) > AT_ONCE:
        st.caption(f"The newest {AT_ONCE} of {len(found)}.")


def _groups(room: Room) -> dict[str, list[GuestPicture]]:
    made = [p for p in room.pictures.values() if p.state is PictureState.MADE]
    newest = sorted(made, key=lambda p: p.finished_at or 0, reverse=True)
    running = [p for p in room.active() if p.state is PictureState.RUNNING]
    on_wall = [p for p in newest if room.is_on_wall(p)]
    pending = [p for p in newest if p.verdict is Verdict.PENDING and room.is_public(p)]
    return {
        TO_APPROVE: pending[::-1],
        ON_WALL: on_wall,
        QUEUE: [*running, *room.line()],
        OTHERS: [p for p in newest if p not in on_wall and p not in pending],
    }


def _card(room: Room, picture: GuestPicture) -> None:
    guest = room.guests[picture.guest_id]
    with (
        st.container(border=True, key=f"seen-{picture.id}"),
        st.container(horizontal=True, vertical_alignment="center"),
    ):
        if picture.state is PictureState.MADE:
            st.html(
                html.thumbnail(address(picture.id, "thumb"), THUMBNAIL, THUMBNAIL), width=THUMBNAIL
            )
        with st.container(width="stretch"):
            star = "★ " if picture.highlighted else ""
            st.html(
                f'<p class="ink-said">{star}{html.escape(picture.recipe.prompt)}</p>'
                f'<p class="ink-negative">{html.escape(guest.nickname)}{_note(room, picture)}</p>'
            )
            with st.container(horizontal=True):
                _buttons(room, picture)


def _note(room: Room, picture: GuestPicture) -> str:
    guest = room.guests[picture.guest_id]
    if guest.removed:
        return " · was removed"
    if not guest.consents:
        return " · does not want to be shown"
    return " · forming" if picture.state is PictureState.RUNNING else ""


def _buttons(room: Room, picture: GuestPicture) -> None:
    guest = room.guests[picture.guest_id]
    is_made = picture.state is PictureState.MADE
    can_show = guest.consents and not guest.removed
    if can_show and picture.verdict is not Verdict.SHOWN:
        word = "Approve" if picture.verdict is Verdict.PENDING else "Show"
        st.button(
            word,
            icon=":material/check:",
            key=f"show-{picture.id}",
            type="primary",
            on_click=_judge,
            args=(room, [picture.id], Verdict.SHOWN),
        )
    if picture.verdict is not Verdict.HIDDEN:
        st.button(
            "Hide",
            icon=":material/visibility_off:",
            key=f"hide-{picture.id}",
            on_click=_judge,
            args=(room, [picture.id], Verdict.HIDDEN),
        )
    if can_show and is_made and picture.verdict is Verdict.SHOWN:
        st.button(
            "Normal" if picture.highlighted else "Large",
            icon=":material/star:",
            key=f"large-{picture.id}",
            on_click=shared().sessions.highlight,
            args=(room.session.id, picture.id, not picture.highlighted),
        )


def _judge(room: Room, picture_ids: list[str], verdict: Verdict) -> None:
    shared().sessions.judge(room.session.id, picture_ids, verdict)
