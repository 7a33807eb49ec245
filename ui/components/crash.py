"""Error cards: what went wrong, in a sentence, and what can be done."""

from __future__ import annotations

import logging
import secrets

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from ui.storage.database_lock import DatabaseInUse

LOG = logging.getLogger("inkling")
RETRY_S = 5


def show_crash(error: Exception) -> bool:
    """Streamlit's hook for uncaught exceptions: shows a card with an id to find the log entry."""
    number = secrets.token_hex(4)
    LOG.error("page failed, number %s", number, exc_info=error)
    if isinstance(error, DatabaseInUse):
        st.error(
            "Give each studio a database of its own (TEXT2IMAGE_DATABASE_URL), or stop the other; "
            "the log names it.",
            title="Another studio uses this database",
            icon=":material/database_off:",
        )
        wait_and_rerun()
    elif isinstance(error, SQLAlchemyError):
        st.error(
            "Your pictures are safe; they can't be listed right now. This page tries again by "
            "itself.",
            title="The gallery's database does not answer",
            icon=":material/database_off:",
        )
        wait_and_rerun()
    elif isinstance(error, OSError):
        st.error(
            f"The studio's data folder can't be used: {error.strerror or 'unknown reason'}. "
            "Make room or set TEXT2IMAGE_DATA_DIR, then reload.",
            title="The data folder can't be used",
            icon=":material/folder_off:",
        )
    else:
        st.error(
            "Your prompt and pictures are kept. Reload the page to go on.",
            title="This page stumbled",
            icon=":material/error:",
        )
    st.caption(f"Number {number}, for whoever runs this studio.")
    return True


def wait_and_rerun() -> None:
    """Rerun the page every few seconds until it works."""
    runs = {"count": 0}

    def again() -> None:
        runs["count"] += 1
        if runs["count"] > 1:
            st.rerun()

    st.fragment(again, run_every=RETRY_S)()
