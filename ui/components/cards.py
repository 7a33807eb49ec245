"""A grid of thumbnails, each under a button that opens it, or chooses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from ui.components import html
from ui.session import address
from ui.storage.decoding import THUMBNAIL_SIDE
from ui.storage.gallery import Picture

IMAGE = "img"  # the query parameter that opens the lightbox
CHOSEN = "_chosen"
LABEL_CHARACTERS = 60

Open = Callable[[str], None]


def show(picture_id: str) -> None:
    """Open the lightbox with this picture."""
    st.query_params[IMAGE] = picture_id


def cards(
    pictures: Sequence[Picture],
    *,
    key: str,
    min_width: int = 190,
    columns: int | None = None,
    choosing: bool = False,
    on_open: Open = show,
) -> None:
    """Draw the pictures' cards: in `columns`, else as many as fit at `min_width` pixels."""
    if columns is None:
        grid = st.grid("auto", min_column_width=min_width, gap="small", key=f"grid-{key}")
    else:
        grid = st.grid(columns, gap="small", key=f"grid-{key}")
    for picture in pictures:
        with grid.cell():
            if choosing:
                card(
                    picture, key, on_open=_choose, marked=picture.id in chosen_ids(), choosing=True
                )
            else:
                card(picture, key, on_open=on_open)


def card(
    picture: Picture,
    key: str,
    *,
    on_open: Open = show,
    marked: bool = False,
    choosing: bool = False,
) -> None:
    """One thumbnail under its button. `marked`: it is chosen, or on the stage."""
    state = "card" if not marked else "chosen" if choosing else "current"
    with st.container(key=f"{state}-{key}-{picture.id}", gap=None):
        scale = THUMBNAIL_SIDE / max(picture.width, picture.height)
        st.html(
            html.thumbnail(
                address(picture, "thumb"),
                round(picture.width * scale),
                round(picture.height * scale),
            )
            + ('<span class="ink-heart" aria-hidden="true">♥</span>' if picture.favourite else "")
            + ('<span class="ink-tick" aria-hidden="true">✓</span>' if choosing and marked else "")
        )
        st.button(
            _label(picture, choosing, marked),
            key=f"open-{key}-{picture.id}",
            on_click=on_open,
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


def chosen_ids() -> set[str]:
    """The pictures chosen so far, of this session."""
    chosen: set[str] = st.session_state.setdefault(CHOSEN, set())
    return chosen


def _choose(picture_id: str) -> None:
    chosen_ids().symmetric_difference_update({picture_id})
