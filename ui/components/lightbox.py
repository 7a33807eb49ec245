"""The lightbox: a large picture, opened by URL (`?img=…`) so that links and Back work."""

from __future__ import annotations

import random
from urllib.parse import quote, urlencode

import streamlit as st

from ui import form
from ui.components import html
from ui.components.actions import download_button, favourite_button, pin_button
from ui.components.albums import add_to_album
from ui.components.cards import IMAGE, show
from ui.components.drop import is_dropped
from ui.components.importer import STUDIO, use
from ui.components.starting import start_buttons
from ui.recipe_link import to_link
from ui.session import address, owner, shared, site
from ui.storage.gallery import Picture, Search

UNDO = "_undo"
SUBMIT = "_submit_recipe"
TITLE = 60  # characters


def lightbox(search: Search) -> None:
    """Open the picture named in the URL, if any; call it on every full run."""
    picture_id = st.query_params.get(IMAGE)
    if not picture_id or is_dropped():
        return
    picture = shared().gallery.get(owner(), picture_id)
    if picture is None:
        close()
        st.toast("That picture doesn't exist or isn't yours.", icon=":material/lock:")
        return
    st.dialog(_title(picture), width="large", on_dismiss=close)(_body)(picture.id, search)


def close() -> None:
    st.query_params.pop(IMAGE, None)


def delete(picture_ids: list[str]) -> None:
    """Delete pictures, and remember them for Undo."""
    shared().gallery.delete(owner(), picture_ids)
    st.session_state[UNDO] = picture_ids
    if st.query_params.get(IMAGE) in picture_ids:
        close()


def undo_bar() -> None:
    """After a deletion: the number of deleted pictures, and Undo."""
    picture_ids = st.session_state.get(UNDO)
    if not picture_ids:
        return
    count = len(picture_ids)
    with st.container(horizontal=True, vertical_alignment="center", key="undo-bar"):
        st.markdown(f"{count} picture{'s' if count > 1 else ''} deleted.")
        st.button("Undo", key="undo", icon=":material/undo:", on_click=_undo, type="tertiary")
        st.button("Dismiss", key="undo-dismiss", on_click=_dismiss, type="tertiary")


def _undo() -> None:
    shared().gallery.restore(owner(), st.session_state.pop(UNDO, []))


def _dismiss() -> None:
    st.session_state.pop(UNDO, None)


def _title(picture: Picture) -> str:
    """The beginning of the prompt, escaped for Streamlit's Markdown."""
    text = picture.prompt
    return html.plain(text if len(text) <= TITLE else text[: TITLE - 1] + "…") or "Picture"


def _body(picture_id: str, search: Search) -> None:
    """The dialog. It is a fragment: its buttons rerun it with the same arguments."""
    picture = shared().gallery.get(owner(), picture_id)
    if picture is None or st.query_params.get(IMAGE) != picture_id:
        st.rerun()  # only a full run opens another picture
    large, side = st.columns([3, 2], gap="medium")
    with large:
        st.html(
            html.mat(
                html.picture(address(picture), picture.prompt, picture.width, picture.height),
                picture.width,
                picture.height,
            )
        )
    with side:
        _arrows(picture, search)
        st.html(f'<p class="ink-prompt">{html.escape(picture.prompt)}</p>')
        if picture.negative_prompt:
            st.html(f'<p class="ink-negative">Without: {html.escape(picture.negative_prompt)}</p>')
        st.html(html.facts(html.parameters(picture)))
        _actions(picture)


def _arrows(picture: Picture, search: Search) -> None:
    before, after = shared().gallery.neighbours(owner(), picture, search)
    with st.container(horizontal=True, key="arrows"):
        for name, key, icon, target in (
            ("Previous", "Left", ":material/chevron_left:", before),
            ("Next", "Right", ":material/chevron_right:", after),
        ):
            st.button(
                name,
                key=f"arrow-{name.lower()}",
                shortcut=key,
                icon=icon,
                disabled=target is None,
                on_click=show,
                args=(target,),
            )


def _actions(picture: Picture) -> None:
    if st.button(
        "Reuse settings", key="reuse", type="primary", icon=":material/tune:", width="stretch"
    ):
        use(picture.recipe)
        st.switch_page(STUDIO)
    with st.container(horizontal=True, key="lightbox-actions", gap="small"):
        if st.button(
            "Variation",
            key="lightbox-variation",
            icon=":material/casino:",
            help="The same with another seed",
        ):
            seed = random.randrange(form.RANDOM_SEED_BELOW)
            use(picture.recipe.with_seed(None))
            st.session_state[SUBMIT] = picture.recipe.with_seed(seed)
            st.switch_page(STUDIO)
        if start_buttons(picture, "lightbox"):
            st.switch_page(STUDIO)
        favourite_button(picture, "lightbox", shortcut="F")
        download_button(picture, "lightbox")
        pin_button(picture, "lightbox")
        add_to_album([picture.id], "lightbox")
        _link(picture)
        _delete(picture)


def _link(picture: Picture) -> None:
    with st.popover("Link", icon=":material/link:", key="link"):
        st.caption("Opens the studio with these settings. The prompt is part of the address.")
        query = urlencode(to_link(picture.recipe), quote_via=quote)
        st.code(f"{site()}/?{query}", language=None, wrap_lines=True)


def _delete(picture: Picture) -> None:
    with st.popover("Delete", icon=":material/delete:", key="delete"):
        st.markdown("Delete this picture? It can be brought back for a while.")
        if st.button("Delete it", key="delete-confirm", type="primary"):
            delete([picture.id])
            st.rerun()
