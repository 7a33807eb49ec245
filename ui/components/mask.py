"""Choosing the part of a picture that is drawn anew: painted on it, or as a mask's file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import streamlit as st

from ui import form
from ui.components import html
from ui.components.cards import IMAGE
from ui.components.drop import is_dropped
from ui.components.submit import MASK, START
from ui.form import STRENGTH
from ui.mask import BadMask, for_canvas, from_canvas, prepared_mask, upright_size
from ui.session import shared
from ui.storage.picture import Unkeepable

HTML = """
<div class="mask">
  <div class="easel" role="img" aria-label="Paint over what is drawn anew">
    <img alt=""><canvas></canvas>
    <i class="before"></i><i class="after"></i><b class="dot" hidden></b>
  </div>
  <div class="tools">
    <label>Brush <input type="range" min="2" max="40" value="12"></label>
    <button type="button" class="eraser" aria-pressed="false">Eraser</button>
    <button type="button" class="undo">Undo</button>
    <button type="button" class="clear">Clear</button>
    <button type="button" class="use">Draw this part anew</button>
  </div>
</div>
"""
CSS = Path(__file__).with_name("mask.css").read_text("utf-8")
SCRIPT = Path(__file__).with_name("mask.js").read_text("utf-8")
FILE_TYPES = ["png", "jpg", "jpeg", "webp"]
CANVAS = "mask-canvas"
FILE = "mask-file"
OPEN = "_mask_open"
STROKES = "_mask_strokes"
ERROR = "_mask_error"
MASKED_STRENGTH: Final = 1.0
WHOLE_STRENGTH: Final = 0.6


def mask_button() -> None:
    """A button beside the picture to start from; it opens the dialog."""
    has_mask = MASK in st.session_state
    st.button(
        "Change the part" if has_mask else "Only a part",
        key="mask-open",
        icon=":material/draw:",
        help="Paint over what is drawn anew: all else stays",
        on_click=_open,
    )
    if st.session_state.get(OPEN) and not is_dropped() and IMAGE not in st.query_params:
        st.dialog("Draw a part anew", on_dismiss=_close)(_body)()


def forget_mask() -> None:
    """Forget the mask: it belongs to another picture."""
    for key in (MASK, STROKES, OPEN, ERROR):
        st.session_state.pop(key, None)


def _body() -> None:
    picture = st.session_state.get(START)
    if picture is None or not st.session_state.get(OPEN):
        st.rerun()  # only a full run closes the dialog
    width, height = upright_size(picture)
    component = st.components.v2.component("inkling_mask", html=HTML, css=CSS, js=SCRIPT)
    component(
        key=CANVAS,
        data={
            "picture": html.data_address(for_canvas(picture)),
            "width": width,
            "height": height,
            "cut": _cut(width, height),
            "strokes": st.session_state.get(STROKES, []),
        },
        on_drawn_change=_take_drawn,
    )
    if st.session_state.get(ERROR):
        st.error(html.plain(st.session_state[ERROR]), icon=":material/error:")
    with st.expander("A mask as a file", icon=":material/upload_file:"):
        st.file_uploader(
            "White is drawn anew, black stays",
            type=FILE_TYPES,
            key=FILE,
            max_upload_size=16,
            on_change=_take_file,
        )
    if MASK in st.session_state:
        st.button(
            "Draw all of it anew",
            key="mask-remove",
            icon=":material/close:",
            on_click=_remove,
        )


def _cut(width: int, height: int) -> tuple[float, float]:
    """Shares of the picture that its shape cuts off at either side: in width, and in height."""
    wide, high = form.size(st.session_state, shared().monitor.abilities)
    if not wide or not high:
        return 0.0, 0.0
    ratio = (wide / high) / (width / height)
    return (1 - min(ratio, 1)) / 2, (1 - min(1 / ratio, 1)) / 2


def _open() -> None:
    st.session_state[OPEN] = True


def _close() -> None:
    st.session_state.pop(OPEN, None)
    st.session_state.pop(ERROR, None)


def _take_drawn() -> None:
    drawn = st.session_state[CANVAS].drawn
    if drawn is None:
        return
    try:
        _use(from_canvas(str(drawn["mask"]), st.session_state[START]))
    except (BadMask, Unkeepable) as error:
        st.session_state[ERROR] = f"It can't be used: {error}."
    else:
        st.session_state[STROKES] = drawn["strokes"]


def _take_file() -> None:
    file = st.session_state[FILE]
    if file is None:
        return
    try:
        _use(prepared_mask(file.getvalue(), st.session_state[START]))
    except (BadMask, Unkeepable) as error:
        st.session_state[ERROR] = f"It can't be used: {error}."
    else:
        st.session_state.pop(STROKES, None)


def _use(mask: bytes) -> None:
    if MASK not in st.session_state:
        st.session_state[STRENGTH] = MASKED_STRENGTH
    st.session_state[MASK] = mask
    _close()


def _remove() -> None:
    forget_mask()
    st.session_state[STRENGTH] = WHOLE_STRENGTH
