"""Starting from a picture: a drop zone, what is chosen, and buttons on finished pictures."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

import streamlit as st

from ui.components import html
from ui.components.mask import WHOLE_STRENGTH, forget_mask, mask_button
from ui.components.submit import MASK, START, STRENGTH, submit_recipe
from ui.mask import tinted
from ui.recipe import Recipe, problems
from ui.session import owner, shared
from ui.start import Start, prepared
from ui.storage.gallery import Picture
from ui.storage.picture import Unkeepable

LOG = logging.getLogger("inkling")
KEEP: Final = "session"
FILE_TYPES = ["png", "jpg", "jpeg", "webp"]
UPSCALE = 2
UPSCALE_STRENGTH = 0.35
TAKEN = "_start_taken"  # the id of the dropped file that was last taken


def drop_start() -> None:
    """A drop zone for a picture to start from."""
    file = st.file_uploader(
        "A picture to start from",
        type=FILE_TYPES,
        key="dropped-start",
        max_upload_size=16,
        help="It is scaled to cover the chosen shape and cropped in the middle.",
    )
    if file is None or st.session_state.get(TAKEN) == file.file_id:
        return
    try:
        _begin_with(prepared(file.getvalue()))
    except (Unkeepable, OSError, ValueError) as error:
        st.error(html.plain(f"It can't be used: {error}."), icon=":material/error:")
    else:
        st.session_state[TAKEN] = file.file_id
        st.rerun()


def chosen_start() -> None:
    """The picture to start from, how far to depart from it, and a button to do without."""
    data = st.session_state.get(START)
    if data is None:
        return
    st.session_state.setdefault(STRENGTH, WHOLE_STRENGTH)
    mask = st.session_state.get(MASK)
    with st.container(horizontal=True, key="start", vertical_alignment="center"):
        st.image(data if mask is None else tinted(data, mask), width=72)
        st.slider(
            "How much may change",
            0.05,
            1.0,
            step=0.05,
            key=STRENGTH,
            persist_state=KEEP,
            help="The next picture starts from this one. Low keeps shapes and colours; at 1 little "
            "of it is left.",
        )
        mask_button()
        st.button("Clear", key="start-remove", icon=":material/close:", on_click=_forget)


def start_buttons(picture: Picture, where: str) -> bool:
    """Buttons that go on from a picture; True if one was clicked."""
    begin = st.button(
        "Start from it",
        key=f"start-from-{where}",
        icon=":material/brush:",
        help="Draw the next picture over this one",
        on_click=_start_from,
        args=(picture,),
    )
    larger = _larger(picture)
    refused = problems(larger, shared().monitor.abilities)
    enlarge = st.button(
        f"Upscale {UPSCALE}×",
        key=f"upscale-{where}",
        icon=":material/zoom_out_map:",
        disabled=bool(refused),
        help="Too large for the service"
        if refused
        else f"Draw it again at {larger.width} × {larger.height} pixels",
        on_click=_upscale,
        args=(picture,),
    )
    return begin or enlarge


def _start_from(picture: Picture) -> None:
    data = _read(picture)
    if data is not None:
        _begin_with(data)
        st.session_state["prompt"] = picture.prompt


def _upscale(picture: Picture) -> None:
    data = _read(picture)
    if data is not None:
        submit_recipe(_larger(picture), Start(data, UPSCALE_STRENGTH))


def _larger(picture: Picture) -> Recipe:
    return replace(
        picture.recipe,
        width=UPSCALE * picture.width,
        height=UPSCALE * picture.height,
        seed=picture.seed,
        count=1,
    )


def _read(picture: Picture) -> bytes | None:
    """The file of a picture; None, with a note, if it is gone."""
    mine = shared().gallery.get(owner(), picture.id)
    try:
        if mine is not None:
            return prepared(shared().gallery.read(mine))
    except (OSError, Unkeepable) as error:
        LOG.warning("picture %s can't be started from: %s", picture.id, error)
    st.toast("The picture's file can't be read.", icon=":material/error:")
    return None


def _begin_with(data: bytes) -> None:
    forget_mask()
    st.session_state[START] = data


def _forget() -> None:
    forget_mask()
    st.session_state.pop(START, None)
