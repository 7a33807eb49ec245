"""Imports settings from pasted text or a dropped picture."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from ui import form
from ui.components import html
from ui.metadata.reader import parse, read_file
from ui.metadata.unreadable import UnreadableRecipe
from ui.recipe import Recipe, fit
from ui.session import owner, shared
from ui.storage.decoding import size_of

LOG = logging.getLogger("inkling")

STUDIO = "app_pages/studio.py"
PASTE_ERROR = "_paste_error"
MAX_LISTED = 8
MAX_UPLOAD_MB = 16
FILE_TYPES = ["png", "jpg", "jpeg", "webp"]


def use(recipe: Recipe, unknown: list[str] | None = None) -> None:
    """Fill the form with a recipe at its next run, which also says what had to be changed."""
    fitted, notes = fit(recipe, shared().monitor.abilities)
    if unknown:
        notes.append(f"Not understood: {_listed(unknown)}.")
    st.session_state[form.PENDING] = fitted
    st.session_state[form.NOTES] = notes


def paste_settings(key: str) -> None:
    """Import settings from pasted text."""
    st.text_area(
        "Paste parameters",
        key="pasted",
        height=120,
        placeholder="JSON, or “prompt … Steps: 30, Seed: 42, …”",
    )
    st.button("Use these settings", key="use-pasted", on_click=_use_pasted)
    if st.session_state.get(PASTE_ERROR):
        st.error(html.plain(st.session_state[PASTE_ERROR]), icon=":material/error:")
    drop_picture(key)


def drop_picture(key: str) -> None:
    """A drop zone for a picture with settings, and buttons for what to do with it."""
    file = st.file_uploader(
        "A picture that carries its settings",
        type=FILE_TYPES,
        key=f"dropped-{key}",
        max_upload_size=MAX_UPLOAD_MB,
    )
    if file is not None:
        offer(file.getvalue(), key)


def offer(data: bytes, key: str, on_done: Callable[[], None] = lambda: None) -> None:
    """Say what a picture carries, and what can be done with it; `on_done`: one of them was."""
    try:
        recipe, unknown = read_file(data)
    except UnreadableRecipe as error:
        st.error(html.plain(error), icon=":material/error:")
        return
    words = f"Found: “{_short(recipe.prompt)}”, {recipe.steps} steps, seed {recipe.seed}."
    st.caption(html.plain(words))
    with st.container(horizontal=True, key=f"drop-actions-{key}"):
        if st.button("Use its settings", key=f"use-dropped-{key}", type="primary"):
            use(recipe, unknown)
            on_done()
            st.switch_page(STUDIO)
        if st.button("Keep in the gallery", key=f"keep-dropped-{key}"):
            _keep(data, recipe, on_done)


def _use_pasted() -> None:
    st.session_state[PASTE_ERROR] = ""
    try:
        use(*parse(st.session_state["pasted"]))
    except UnreadableRecipe as error:
        st.session_state[PASTE_ERROR] = str(error)


def _keep(data: bytes, recipe: Recipe, on_done: Callable[[], None]) -> None:
    """Add a dropped picture to the gallery, with its real size."""
    if shared().gallery.holds(owner(), data):
        st.toast("It is in your gallery already.", icon=":material/check:")
        on_done()
        return
    try:
        width, height = size_of(data)
        kept = replace(recipe, width=width, height=height, seed=recipe.seed or 0)
        shared().gallery.add(owner(), data, kept)
    except OSError as error:
        st.error(html.plain(f"It could not be kept: {error}."), icon=":material/error:")
    except SQLAlchemyError:
        LOG.exception("a dropped picture could not be kept")
        st.error("It could not be kept: the gallery's database did not answer.")
    else:
        st.toast("Kept in your gallery.", icon=":material/check:")
        on_done()


def _listed(names: list[str]) -> str:
    """The first few names of unknown settings: a file may contain hundreds, of any length."""
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(_short(name, 40) for name in names[:MAX_LISTED]) + more


def _short(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
