"""Import by dropping a picture anywhere on the page: drop.js hands it to a hidden uploader."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ui.components import html
from ui.components.importer import FILE_TYPES, MAX_UPLOAD_MB, offer
from ui.storage.decoding import make_thumbnail

HTML = "<i hidden></i>\n"
SCRIPT = Path(__file__).with_name("drop.js").read_text("utf-8")
COUNT = "_dropped"  # so many were dropped before: each has an uploader of its own


def is_dropped() -> bool:
    """Whether a picture waits to be looked at; no page may open another dialog then."""
    return st.session_state.get(_key()) is not None


def drop_anywhere() -> None:
    """Listen for pictures, and ask what to do with one; call it at the end of every full run."""
    component = st.components.v2.component("inkling_drop", html=HTML, js=SCRIPT)
    with st.container(key="dropzone"):
        component(key="drop", height=1)
        file = st.file_uploader(
            "Dropped picture", type=FILE_TYPES, key=_key(), max_upload_size=MAX_UPLOAD_MB
        )
    if file is not None:
        st.dialog("Import a picture", on_dismiss=_forget)(_body)(file.getvalue())


def _body(data: bytes) -> None:
    try:
        thumbnail = html.data_address(make_thumbnail(data), "image/webp")
    except OSError:
        pass  # `offer` says what is wrong with it
    else:
        st.html(f'<img class="ink-dropped" src="{thumbnail}" alt="The dropped picture">')
    before = _key()
    offer(data, "anywhere", _forget)
    if _key() != before:
        st.rerun()  # closes the dialog


def _forget() -> None:
    st.session_state[COUNT] = st.session_state.get(COUNT, 0) + 1


def _key() -> str:
    return f"dropped-anywhere-{st.session_state.get(COUNT, 0)}"
