"""Signing in, if an OpenID Connect provider is configured."""

from __future__ import annotations

import streamlit as st

from ui.components import html
from ui.session import shared


def require_sign_in() -> None:
    """Stop at a sign-in card if signing in is required and the visitor has not."""
    if shared().settings.oidc is None or st.user.is_logged_in:
        return
    st.html(html.empty("Welcome to Inkling", "Sign in to make pictures and find yours again."))
    with st.container(horizontal=True, horizontal_alignment="center"):
        if st.button("Sign in", key="sign-in", type="primary", icon=":material/login:"):
            st.login()
    st.stop()


def account() -> None:
    """Show who is signed in, and a button to sign out."""
    if shared().settings.oidc is None:
        return
    who = st.user.get("name") or st.user.get("email") or "someone"
    st.html(f"<p>Signed in as {html.escape(who)}.</p>")
    if st.button("Sign out", key="sign-out", icon=":material/logout:"):
        st.logout()
