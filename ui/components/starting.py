"""Starting from a picture: a drop zone, what is chosen, and buttons on finished pictures."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

import client
from ui.components import html
from ui.components.mask import WHOLE_STRENGTH, forget_mask, mask_button
from ui.components.submit import MASK, START, show_on_stage, submit_recipe
from ui.form import STRENGTH
from ui.mask import tinted
from ui.metadata.texts import with_texts_of
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
        "Start from this picture",
        key=f"start-from-{where}",
        icon=":material/brush:",
        help="Draw the next picture over this one",
        on_click=_start_from,
        args=(picture,),
    )
    larger = _larger(picture)
    is_drawn = shared().monitor.abilities.draws_well(larger.width, larger.height)
    refused = problems(larger, shared().monitor.abilities) if is_drawn else {}
    how = "Draw it again at" if is_drawn else "Enlarge it, by Lanczos, to"
    enlarge = st.button(
        f"Upscale {UPSCALE}×",
        key=f"upscale-{where}",
        icon=":material/zoom_out_map:",
        disabled=bool(refused),
        help="Too large for the service"
        if refused
        else f"{how} {larger.width} × {larger.height} pixels",
        on_click=_upscale if is_drawn else _enlarge,
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


def _enlarge(picture: Picture) -> None:
    """Without drawing: this model melts what is larger than it was trained for."""
    data = _read(picture)
    if data is None:
        return
    try:
        made = shared().service.upscale(data, UPSCALE).image
        kept = shared().gallery.add(
            owner(),
            with_texts_of(data, made.data),
            replace(
                picture.recipe,
                width=made.width,
                height=made.height,
                upscale=made.width / picture.width * picture.upscale,
                upscale_strength=0.0,
            ),
        )
    except (client.Text2ImageError, OSError, SQLAlchemyError) as error:
        LOG.warning("picture %s can't be enlarged: %s", picture.id, error)
        st.toast(html.plain(f"It can't be enlarged: {error}."), icon=":material/error:")
    else:
        show_on_stage(kept.id)


def _larger(picture: Picture) -> Recipe:
    return replace(
        picture.recipe,
        width=UPSCALE * picture.width,
        height=UPSCALE * picture.height,
        seed=picture.seed,
        count=1,
        upscale=1.0,
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
