"""A grid of thumbnails, each with a button that opens or selects it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import streamlit as st

from ui.components import html
from ui.components.header import short_name
from ui.session import address
from ui.storage.decoding import THUMBNAIL_SIDE
from ui.storage.gallery import Picture
from ui.storage.search import Stack

IMAGE = "img"  # the query parameter that opens the lightbox
CHOSEN = "_chosen"
LABEL_CHARACTERS = 60

Open = Callable[[str], None]
OpenGroup = Callable[[str], None]
State = Literal["card", "chosen", "current"]


def show(picture_id: str) -> None:
    """Open the lightbox with this picture."""
    st.query_params[IMAGE] = picture_id


def cards(pictures: Sequence[Picture], *, key: str, columns: int, on_open: Open = show) -> None:
    """Draw the pictures' cards in columns."""
    grid = st.grid(columns, gap="small", key=f"grid-{key}")
    for picture in pictures:
        with grid.cell():
            card(picture, key, on_open, (picture.id,))


def stacks(
    found: Sequence[Stack], *, key: str, min_width: int, choosing: bool, on_open: OpenGroup
) -> None:
    """Draw stacks as captioned cards, as many in a row as fit at `min_width` pixels.

    A click opens a picture that lies alone, and calls `on_open` for what lies below others.
    """
    grid = st.grid("auto", min_column_width=min_width, gap="small", key=f"grid-{key}")
    for stack in found:
        ids = stack.picture_ids
        marked = choosing and chosen_ids().issuperset(ids)
        with grid.cell():
            if choosing:
                on_click: Callable[..., None] = _choose
                args: tuple[Any, ...] = (ids, not marked)
                label = "Leave out: " if marked else "Choose: "
            elif len(ids) > 1:
                on_click, args, label = on_open, (stack.group,), f"{len(ids)} pictures: "
            else:
                on_click, args, label = show, ids, ""
            state: State = "chosen" if marked else "card"
            card(
                stack.top,
                key,
                on_click,
                args,
                state=state,
                label=label,
                count=len(ids),
                caption=True,
            )


def card(
    picture: Picture,
    key: str,
    on_click: Callable[..., None],
    args: tuple[Any, ...],
    *,
    state: State = "card",
    label: str = "",
    count: int = 1,
    caption: bool = False,
) -> None:
    """One thumbnail under its button. `state`: whether it is chosen, or on the stage.

    `label` stands before the prompt in the button's name; `count` pictures lie in the stack.
    """
    with st.container(key=f"{state}-{key}-{picture.id}", gap=None):
        scale = THUMBNAIL_SIDE / max(picture.width, picture.height)
        image = html.thumbnail(
            address(picture, "thumb"), round(picture.width * scale), round(picture.height * scale)
        )
        st.html(image + _marks(picture, state, count) + (_caption(picture) if caption else ""))
        st.button(
            label + html.plain(picture.prompt[:LABEL_CHARACTERS]) or "Open",
            key=f"open-{key}-{picture.id}",
            on_click=on_click,
            args=args,
            width="stretch",
            wrap=False,
        )


def _marks(picture: Picture, state: State, count: int) -> str:
    """Small signs over a corner; the button says the same in words."""
    heart = '<span class="ink-heart" aria-hidden="true">♥</span>' if picture.favourite else ""
    tick = '<span class="ink-tick" aria-hidden="true">✓</span>' if state == "chosen" else ""
    stack = f'<span class="ink-stack" aria-hidden="true">{count}</span>' if count > 1 else ""
    return heart + tick + stack


def _caption(picture: Picture) -> str:
    """What it shows and who drew it, below the picture."""
    return (
        f'<div class="ink-caption" aria-hidden="true"><p>{html.escape(picture.prompt)}</p>'
        f"<small>{html.escape(short_name(picture.model))}</small></div>"
    )


def chosen_ids() -> set[str]:
    """Ids of the pictures selected in this session."""
    chosen: set[str] = st.session_state.setdefault(CHOSEN, set())
    return chosen


def _choose(picture_ids: tuple[str, ...], choose: bool) -> None:
    if choose:
        chosen_ids().update(picture_ids)
    else:
        chosen_ids().difference_update(picture_ids)
