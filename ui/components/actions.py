"""Buttons for pictures: download, favourite, compare, zip."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from ui.session import owner, shared
from ui.storage.gallery import Gallery, Picture
from ui.zipping import file_name, zip_pictures

PINS = "_pins"
MAX_ZIP = 200


def download_button(picture: Picture, where: str, width: str = "content") -> None:
    """Download the original file with its metadata; it is read only when clicked."""
    st.download_button(
        "Download",
        data=lambda: shared().gallery.read(picture),
        file_name=file_name(picture),
        mime=picture.mime_type,
        key=f"download-{where}",
        on_click="ignore",
        icon=":material/download:",
        help="The original file; it carries its settings",
        width="stretch" if width == "stretch" else "content",
    )


def favourite_button(picture: Picture, where: str, shortcut: str | None = None) -> None:
    """Mark as favourite or unmark."""
    st.button(
        "Unfavourite" if picture.favourite else "Favourite",
        key=f"favourite-{where}",
        icon=":material/heart_minus:" if picture.favourite else ":material/favorite:",
        shortcut=shortcut,
        on_click=shared().gallery.set_favourite,
        args=(owner(), picture.id, not picture.favourite),
    )


def pin_button(picture: Picture, where: str) -> None:
    """Add the picture to the comparison."""
    pins = st.session_state.get(PINS, [])
    if picture.id in pins:
        st.button(
            "Unpin",
            key=f"pin-{where}",
            icon=":material/keep_off:",
            on_click=unpin,
            args=(picture.id,),
        )
    else:
        st.button(
            "Compare",
            key=f"pin-{where}",
            icon=":material/compare:",
            on_click=pin,
            args=(picture.id,),
            help="Pin it for the Compare page",
        )


def pin(picture_id: str) -> None:
    """Remember a picture for the Compare page, which shows the last two."""
    pins = [i for i in st.session_state.get(PINS, []) if i != picture_id]
    st.session_state[PINS] = [*pins, picture_id][-2:]
    missing = 2 - len(st.session_state[PINS])
    text = "Pinned. Pin another to compare." if missing else "Two pinned: open Compare."
    st.toast(text, icon=":material/compare:")


def unpin(picture_id: str) -> None:
    """Remove a picture from the comparison."""
    st.session_state[PINS] = [i for i in st.session_state.get(PINS, []) if i != picture_id]


def zip_button(picture_ids: Sequence[str], where: str) -> None:
    """Download all pictures in one zip, created only when clicked."""
    chosen, who = list(picture_ids)[:MAX_ZIP], owner()
    st.download_button(
        f"Download {len(chosen)}",
        data=lambda: bundle(shared().gallery, who, chosen),  # runs outside the session
        file_name="inkling-pictures.zip",
        mime="application/zip",
        key=f"zip-{where}",
        on_click="ignore",
        icon=":material/folder_zip:",
        disabled=not chosen,
        help=f"As one zip file, {MAX_ZIP} pictures at most",
    )


def bundle(gallery: Gallery, who: str, picture_ids: Sequence[str]) -> bytes:
    """A zip of those of the pictures that are theirs."""
    return zip_pictures(gallery, gallery.get_many(who, picture_ids))
