"""A grid of thumbnails, each under a button that opens it, or chooses it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from ui.components import html
from ui.session import address
from ui.storage.decoding import THUMBNAIL_SIDE
from ui.storage.gallery import Picture

IMAGE = "img"  # the query parameter that opens the lightbox
CHOSEN = "_chosen"
LABEL_CHARACTERS = 60


def cards(
    pictures: Sequence[Picture], *, key: str, min_width: int = 190, choosing: bool = False
) -> None:
    """Draw the pictures' cards. `min_width` in pixels."""
    grid = st.grid("auto", min_column_width=min_width, gap="small", key=f"grid-{key}")
    for picture in pictures:
        with grid.cell():
            _card(picture, key, choosing)


def _card(picture: Picture, key: str, choosing: bool) -> None:
    chosen = choosing and picture.id in chosen_ids()
    state = "chosen" if chosen else "card"
    with st.container(key=f"{state}-{key}-{picture.id}", gap=None):
        scale = THUMBNAIL_SIDE / max(picture.width, picture.height)
        st.html(
            html.thumbnail(
                address(picture, "thumb"),
                round(picture.width * scale),
                round(picture.height * scale),
            )
            + ('<span class="ink-heart" aria-hidden="true">♥</span>' if picture.favourite else "")
            + ('<span class="ink-tick" aria-hidden="true">✓</span>' if chosen else "")
        )
        st.button(
            _label(picture, choosing, chosen),
            key=f"open-{key}-{picture.id}",
            on_click=_choose if choosing else show,
            args=(picture.id,),
            width="stretch",
            wrap=False,
        )


def _label(picture: Picture, choosing: bool, chosen: bool) -> str:
    """The prompt as a button's name, where nothing is Markdown."""
    text = html.plain(picture.prompt[:LABEL_CHARACTERS])
    if choosing:
        return f"{'Leave out' if chosen else 'Choose'}: {text}"
    return text or "Open"


def show(picture_id: str) -> None:
    """Open the lightbox with this picture."""
    st.query_params[IMAGE] = picture_id


def chosen_ids() -> set[str]:
    """The pictures chosen so far, of this session."""
    chosen: set[str] = st.session_state.setdefault(CHOSEN, set())
    return chosen


def _choose(picture_id: str) -> None:
    chosen_ids().symmetric_difference_update({picture_id})
