"""The header of every page: title and service state."""

from __future__ import annotations

import time
from datetime import datetime

import streamlit as st

import client
from ui.components import html
from ui.job import Job
from ui.monitor import Sample
from ui.session import keeps_pictures, owner, shared

NAME = "Inkling"
RESTLESS_S = 2  # while something is happening
DOUBTFUL_S = 10.0  # after a failure
WATCHED = "_watched_jobs"


def page_header(title: str, *, toast: bool = True, explain: bool = False) -> None:
    """The title with a chip for the service's state.

    `toast` announces pictures finished on other pages; `explain` adds details of a problem.
    """
    restless = _is_restless(toast)
    draw = st.fragment(_header, run_every=RESTLESS_S if restless else None)
    with st.container(key="header"):
        draw(title, toast, explain, restless)
    if not keeps_pictures():
        st.caption("Cookies are off: pictures can't be shown or kept after you close this tab.")


def _is_restless(toast: bool) -> bool:
    """Whether the header may change without user interaction."""
    sample = shared().monitor.look()
    quiet = sample is not None and sample.status is not None and _is_quiet(sample.status)
    jobs = shared().jobs
    if any(_has_just_failed(job) for job in jobs.of(owner())):
        return True
    return not quiet or (toast and bool(jobs.active(owner())))


def _has_just_failed(job: Job) -> bool:
    """Whether a job failed recently: the last status may be older, and wrongly say ready."""
    if job.failure is None or job.finished is None:
        return False
    return time.monotonic() - job.finished < DOUBTFUL_S


def chip_of(sample: Sample | None) -> tuple[str, str, str]:
    """The chip's colour, text and tooltip."""
    if sample is None:
        return "blue", "Connecting…", ""
    if sample.status is None:
        since = datetime.fromtimestamp(sample.down_since or sample.at).strftime("%H:%M:%S")
        return "red", "Offline", f"No answer since {since}; trying again by itself."
    status = sample.status
    name = short_name(status.models[0].name) if status.models else "no model"
    match status.state:
        case client.State.READY if status.queue.queued:
            return "blue", f"Busy · {status.queue.queued} waiting", status.message
        case client.State.READY:
            return "green", f"Ready · {name}", status.message
        case client.State.STARTING:
            return "amber", "Loading the model", status.message
        case client.State.DRAINING:
            return "amber", "Restarting", status.message
        case client.State.FAILED:
            return "red", "No model", status.message
        case client.State.STUCK:
            return "red", "Stuck", status.message
        case _:
            return "amber", "Unknown state", status.message


def short_name(model: str) -> str:
    """A model's name without the folder or account before it."""
    return model.rstrip("/").rsplit("/", 1)[-1]


def _is_quiet(status: client.ServiceStatus) -> bool:
    return status.state is client.State.READY and not status.queue.queued


def _header(title: str, toast: bool, explain: bool, restless: bool) -> None:
    sample = shared().monitor.look()
    colour, text, hint = chip_of(sample)
    st.html(
        f'<header class="ink-header"><h1>{html.escape(title)}</h1>'
        f"{html.chip(colour, text, hint)}</header>"
    )
    if explain and sample is not None:
        _explain(sample)
    _tell_finished(toast)
    if restless and not _is_restless(toast):
        st.rerun()  # a full run stops the timer


def _explain(sample: Sample) -> None:
    if sample.status is None:
        st.warning(
            "The image server can't be reached. Trying again by itself; you can still browse your "
            "gallery, and Generate waits for a moment.",
            icon=":material/cloud_off:",
        )
    elif sample.status.state is client.State.STARTING:
        st.info(
            f"{html.plain((sample.status.message or 'The model is loading').rstrip('.'))}. "
            "What you ask for now starts by itself.",
            icon=":material/hourglass_top:",
        )
    elif sample.status.state is client.State.FAILED:
        st.error(
            html.plain(sample.status.message),
            title="The model could not be loaded",
            icon=":material/error:",
        )
    elif sample.status.state is client.State.STUCK:
        st.warning(
            html.plain(sample.status.message),
            title="The image server is stuck",
            icon=":material/hourglass_disabled:",
        )


def _tell_finished(toast: bool) -> None:
    """Announce once a picture that was finished while the visitor was on another page."""
    watched: set[str] = st.session_state.setdefault(WATCHED, set())
    for job in shared().jobs.of(owner()):
        if job.is_active:
            watched.add(job.id)
        elif job.id in watched:
            watched.remove(job.id)
            if toast and job.pictures:
                st.toast("Your picture is ready in the studio.", icon=":material/image:")
            elif toast and job.failure is not None:
                st.toast(job.failure.title, icon=":material/error:")
