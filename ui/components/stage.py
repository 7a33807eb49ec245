"""The stage: where the picture forms. Only reads jobs; drawing it is cheap enough for a timer."""

from __future__ import annotations

import streamlit as st

import client
from ui.components import html
from ui.components.failure_card import failure_card
from ui.components.header import NAME
from ui.components.result import result
from ui.job import Job, Phase
from ui.session import owner, shared

FAST_S = 0.5
SLOW_S = 2.0
SLOW_AFTER_S = 3.0


def stage(job: Job | None, idle: str) -> None:
    """Draw a job, and again while it goes on; `idle` is the HTML of an empty stage.

    What is over is drawn outside of the fragment: its buttons start other jobs and fill the form,
    which only a full run shows.
    """
    period = period_of(job)
    if job is None:
        if idle:
            st.html(idle)
    elif period is None:
        _over(job)
    else:
        st.fragment(_live, run_every=period)(job, period)


def period_of(job: Job | None) -> float | None:
    """Seconds between looks at a job, or None where it changes no more."""
    if job is None or not job.is_active:
        return None
    waiting = job.phase in (Phase.QUEUED, Phase.LOADING, Phase.RETRYING)
    return SLOW_S if waiting and job.elapsed_s > SLOW_AFTER_S else FAST_S


def _live(job: Job, period: float) -> None:
    if period_of(job) != period:
        st.rerun()  # only a full run sets another timer, or none
    _under_way(job)


def _under_way(job: Job) -> None:
    st.html(_forming(job) + html.announce(milestone(job)))
    st.button(
        "Cancel",
        key="cancel",
        icon=":material/stop_circle:",
        shortcut="Esc",
        on_click=job.cancel,
        disabled=job.is_cancelled(),
    )
    others = [other for other in shared().jobs.of(owner()) if other.is_active and other is not job]
    if others:
        st.html(_others(others))
    if job.phase is Phase.RUNNING:
        st.set_page_config(page_title=f"{job.fraction:.0%} · {NAME}")


def _over(job: Job) -> None:
    if job.phase is Phase.DONE:
        result(job)
    elif job.phase is Phase.CANCELLED:
        st.html(html.empty("Cancelled", "Nothing was kept. Your prompt and settings are."))
        st.html(html.announce("Cancelled"))
    else:
        failure_card(job)


def _forming(job: Job) -> str:
    recipe = job.recipe
    if job.preview is not None:
        alt = f"Preview at step {job.step} of {job.num_steps}"
        source = html.data_address(job.preview)
        inner = html.picture(source, alt, recipe.width, recipe.height, "ink-forming")
    else:
        inner = f'<div class="ink-picture ink-blank">{html.MARK}</div>'
    left, right = caption(job)
    percent = round(job.fraction * 100)
    busy = "" if job.phase is Phase.RUNNING else " ink-waiting"
    return (
        html.mat(inner, recipe.width, recipe.height)
        + f'<div class="ink-bar{busy}" role="progressbar" aria-label="Progress" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}">'
        f'<i style="width:{percent}%"></i></div>'
        f'<p class="ink-line"><span>{html.escape(left)}</span><span>{html.escape(right)}</span></p>'
    )


def caption(job: Job) -> tuple[str, str]:
    """What is going on, and how long it will take."""
    match job.phase:
        case Phase.SENDING if _is_loading():
            return _loading_text(""), ""
        case Phase.SENDING:
            slow = job.elapsed_s > SLOW_AFTER_S
            return ("Still waiting for the image server…" if slow else "Sending…"), ""
        case Phase.RETRYING:
            return "The image server doesn't answer; trying again…", ""
        case Phase.LOADING:
            return _loading_text(job.message), "Your picture starts by itself."
        case Phase.QUEUED:
            return queue_text(job.position), _about(job.wait_ms)
        case Phase.CANCELLING:
            return "Cancelling…", ""
        case _:
            eta = f"{_about(job.eta_ms)} left" if job.step > 1 and job.eta_ms else ""
            return f"Step {job.step} of {job.num_steps}", eta


def queue_text(position: int) -> str:
    """A place in the queue in words."""
    return "You are next" if position == 0 else f"In the queue: {position} ahead of you"


def milestone(job: Job) -> str:
    """A line for screen readers that changes only now and then."""
    if job.phase is not Phase.RUNNING:
        return caption(job)[0]
    quarter = int(job.fraction * 4) * 25
    return f"{quarter} percent" if quarter else "Started"


def _is_loading() -> bool:
    sample = shared().monitor.look(patience_s=0)
    if sample is None or sample.status is None:
        return False
    status = sample.status
    is_asleep = bool(status.models) and not status.models[0].loaded
    return status.state is client.State.STARTING or is_asleep


def _loading_text(message: str) -> str:
    sample = shared().monitor.look(patience_s=0)
    if not message and sample and sample.status and sample.status.state is client.State.STARTING:
        message = sample.status.message
    return message or "The model is loading"


def _about(milliseconds: int) -> str:
    return f"about {html.seconds(max(milliseconds, 1000))}" if milliseconds else ""


def _others(jobs: list[Job]) -> str:
    rows = "".join(
        f"<li><span>{html.escape(job.recipe.prompt[:80])}</span>"
        f"<span>{html.escape(caption(job)[0])}</span></li>"
        for job in jobs
    )
    return f'<h2 class="ink-small">Also under way</h2><ul class="ink-jobs">{rows}</ul>'
