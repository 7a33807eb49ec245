"""The visitor of this script run, and URLs that only they may use."""

from __future__ import annotations

import hashlib
import uuid

import streamlit as st
from streamlit import config

from ui.connection import Services, services
from ui.identity import COOKIE
from ui.storage.gallery import Picture
from ui.web import base_path, picture_address

ANONYMOUS = "_anonymous"


def owner() -> str:
    """The owner of the gallery: the signed-in user, else the browser, else this session."""
    person = signed_in()
    if person is not None:
        return person
    known = browser()
    return f"b-{known}" if known else f"s-{_session_id()}"


def signed_in() -> str | None:
    if services().settings.oidc is None or not st.user.is_logged_in:
        return None
    who = f"{st.user.get('iss', '')}\n{st.user.get('sub', '')}"
    return "u-" + hashlib.sha256(who.encode()).hexdigest()[:40]


def browser() -> str | None:
    """The id in our cookie, or None if cookies are disabled."""
    return services().signer.browser_of(st.context.cookies.get(COOKIE))


def keeps_pictures() -> bool:
    """Whether the visitor will find their pictures again after closing the tab."""
    return browser() is not None


def address(picture: Picture | str, kind: str = "full") -> str:
    """The URL of a picture for this browser; `kind` is thumb or full."""
    picture_id = picture if isinstance(picture, str) else picture.id
    base = base_path(config.get_option("server.baseUrlPath"))
    return picture_address(services().signer, browser() or _session_id(), picture_id, kind, base)


def site() -> str:
    """The studio's own address, as this visitor's browser has it."""
    return (st.context.url or "").split("?")[0].rsplit("/", 1)[0]


def shared() -> Services:
    """The process's long-lived objects."""
    return services()


def _session_id() -> str:
    if ANONYMOUS not in st.session_state:
        st.session_state[ANONYMOUS] = uuid.uuid4().hex
    return str(st.session_state[ANONYMOUS])
