"""The filmstrip: the latest pictures, below the stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from ui.components.cards import State, card
from ui.components.submit import show_on_stage
from ui.storage.gallery import Picture


def filmstrip(
    pictures: Sequence[Picture], current: str | None, on_open: Callable[[str], None] = show_on_stage
) -> None:
    """Draw the pictures, newest first; `current` is the id of the one on the stage."""
    ids = [picture.id for picture in pictures]
    place = ids.index(current) if current in ids else None
    with st.container(horizontal=True, key="film", wrap=False, gap="small"):
        _arrow("previous", ":material/chevron_left:", _at(ids, place, -1))
        with st.container(horizontal=True, key="film-row", wrap=False, gap="small"):
            for picture in pictures:
                state: State = "current" if picture.id == current else "card"
                card(picture, "film", on_open, (picture.id,), state=state)
        _arrow("next", ":material/chevron_right:", _at(ids, place, 1))


def _at(ids: list[str], place: int | None, step: int) -> str | None:
    """The neighbouring picture of the one on the stage."""
    if place is None or not 0 <= place + step < len(ids):
        return None
    return ids[place + step]


def _arrow(name: str, icon: str, target: str | None) -> None:
    st.button(
        f"{name.capitalize()} picture",
        key=f"film-{name}",
        icon=icon,
        disabled=target is None,
        on_click=show_on_stage,
        args=(target,),
    )
