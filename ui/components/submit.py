"""Submits the form, or shows what is wrong with it."""

from __future__ import annotations

import streamlit as st

from ui import form
from ui.components import html
from ui.form import STRENGTH
from ui.jobs import TooManyJobs
from ui.recipe import Recipe, problems
from ui.session import owner, shared
from ui.start import Start

PROBLEMS = "_problems"
START = "_start"  # the picture to start from, encoded
MASK = "_mask"  # what of it is drawn anew, encoded; absent: all
JOB = "_job"
SHOWN = "_shown"  # the picture on the stage, if it is not the last job's


def submit() -> None:
    """Check the widgets' values and start a job, or record the problems."""
    data = st.session_state.get(START)
    start = None
    if data is not None:
        mask = st.session_state.get(MASK)
        start = Start(data, float(st.session_state[STRENGTH]), mask)
    submit_recipe(form.read(st.session_state, shared().monitor.abilities), start)


def submit_recipe(recipe: Recipe, start: Start | None = None) -> None:
    """Start a job with this recipe, or record its problems."""
    found = problems(recipe, shared().monitor.abilities)
    st.session_state[PROBLEMS] = found
    if found:
        return
    try:
        st.session_state[JOB] = shared().jobs.submit(owner(), recipe, start).id
    except TooManyJobs as error:
        st.session_state[PROBLEMS] = {"queue": f"Wait a moment: {error}."}
    else:
        st.session_state.pop(SHOWN, None)
        st.session_state.pop(form.NOTES, None)


def show_on_stage(picture_id: str | None) -> None:
    """Put a picture of the gallery on the stage, or the last job again."""
    if picture_id is None:
        st.session_state.pop(SHOWN, None)
    else:
        st.session_state[SHOWN] = picture_id


def problem(field: str) -> None:
    """Show a field's problem below it."""
    text = st.session_state.get(PROBLEMS, {}).get(field)
    if text:
        st.error(html.plain(text), icon=":material/error:")
