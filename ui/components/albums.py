"""Albums in the gallery: choosing one, filling it, sharing and downloading it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime

import streamlit as st

from ui.components import html
from ui.components.actions import zip_button
from ui.session import owner, shared, site
from ui.shared_album import Links
from ui.storage.albums import MAX_NAME, Album, AlbumRefused
from ui.storage.gallery import Search

HOUR_S = 3600
DAYS = {"1 day": 1, "1 week": 7, "1 month": 30}


def album_filter(on_change: Callable[[], None]) -> Album | None:
    """The choice among the albums; returns the one that is shown."""
    albums = {album.id: album for album in shared().albums.of(owner())}
    if st.session_state.get("album") not in albums:
        st.session_state.pop("album", None)
    if not albums:
        return None
    chosen = st.selectbox(
        "Album",
        list(albums),
        key="album",
        index=None,
        format_func=lambda album_id: albums[album_id].name,
        placeholder="All pictures",
        on_change=on_change,
        persist_state="session",
        width=180,
    )
    return albums.get(chosen or "")


def album_bar(album: Album) -> None:
    """What can be done with the album that is shown."""
    ids = shared().gallery.ids(owner(), Search(album=album.id), limit=10_000)
    with st.container(horizontal=True, vertical_alignment="center", key="album-bar"):
        st.html(f'<h2 class="ink-album">{html.escape(album.name)}</h2>')
        with st.popover("Share", icon=":material/share:", key="album-share"):
            _share(album)
        zip_button(ids, "album")
        with st.popover("Edit", icon=":material/edit:", key="album-edit"):
            st.text_input("Name", album.name, max_chars=MAX_NAME, key=f"album-name-{album.id}")
            st.button("Rename", key="album-rename", on_click=_rename, args=(album,))
            st.caption("Deleting the album leaves its pictures in the gallery.")
            st.button(
                "Delete the album",
                key="album-delete",
                icon=":material/delete:",
                on_click=shared().albums.delete,
                args=(owner(), album.id),
            )


def add_to_album(picture_ids: Sequence[str], where: str) -> None:
    """A popover that puts pictures into an album, or makes one of them."""
    label = f"album-{where}"
    with st.popover(
        "Album", icon=":material/photo_album:", key=f"{label}-add", disabled=not picture_ids
    ):
        albums = shared().albums.of(owner())
        for album in albums:
            st.button(
                html.plain(album.name),
                key=f"{label}-{album.id}",
                icon=":material/add:",
                on_click=_add,
                args=(album, picture_ids),
                width="stretch",
            )
        st.text_input("New album", max_chars=MAX_NAME, key=f"{label}-name", placeholder="Animals")
        st.button(
            "Make it", key=f"{label}-make", on_click=_make, args=(f"{label}-name", picture_ids)
        )


def remove_button(album: Album, picture_ids: Sequence[str], where: str) -> None:
    """Takes pictures out of the album that is shown."""
    st.button(
        "Take out",
        key=f"album-{where}-out",
        icon=":material/playlist_remove:",
        help="They stay in the gallery",
        disabled=not picture_ids,
        on_click=shared().albums.remove,
        args=(owner(), album.id, list(picture_ids)),
    )


def _share(album: Album) -> None:
    st.markdown("Whoever has the link sees this album's pictures, and can change nothing.")
    until = _until(DAYS[_days()])
    if album.share_key is None:
        st.button(
            "Make a link",
            key="album-link",
            type="primary",
            on_click=shared().albums.share,
            args=(owner(), album.id),
        )
        return
    key = Links(shared().signer).make(album.id, album.share_key, until)
    st.code(f"{site()}/album?k={key}", language=None, wrap_lines=True)
    st.caption(f"Works until {datetime.fromtimestamp(until):%d %B %Y, %H:%M}, without a login.")
    st.button(
        "End all its links",
        key="album-unshare",
        icon=":material/link_off:",
        on_click=shared().albums.unshare,
        args=(owner(), album.id),
    )


def _until(days: int) -> int:
    """Seconds since 1970, at a full hour: so the link stays the same while one looks at it."""
    return (int(time.time()) // HOUR_S + 1 + 24 * days) * HOUR_S


def _days() -> str:
    chosen = st.segmented_control(
        "The link works for", list(DAYS), key="album-days", default="1 week", required=True
    )
    return chosen or "1 week"


def _rename(album: Album) -> None:
    name = st.session_state[f"album-name-{album.id}"]
    _try(lambda: shared().albums.rename(owner(), album.id, name))


def _add(album: Album, picture_ids: Sequence[str]) -> None:
    def add() -> None:
        added = shared().albums.add(owner(), album.id, picture_ids)
        what = f"{added} picture{'' if added == 1 else 's'} added to"
        st.toast(html.plain(f"{what if added else 'Already in'} “{album.name}”."))

    _try(add)


def _make(name_key: str, picture_ids: Sequence[str]) -> None:
    def make() -> None:
        album = shared().albums.create(owner(), st.session_state[name_key])
        st.session_state[name_key] = ""
        _add(album, picture_ids)

    _try(make)


def _try(act: Callable[[], None]) -> None:
    try:
        act()
    except AlbumRefused as refusal:
        st.toast(str(refusal), icon=":material/error:")
