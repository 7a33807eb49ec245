"""The stage: an area of fixed size that shows a running job or a picture. Cheap to redraw."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

import client
from ui.components import easel, html
from ui.components.cards import show
from ui.components.failure_card import failure_card
from ui.components.header import NAME
from ui.components.result import (
    batch_actions,
    finished,
    picture_actions,
    unsaved,
    unsaved_picture,
    withheld,
)
from ui.job import Job, Phase
from ui.recipe import Recipe
from ui.session import address, owner, shared
from ui.storage.gallery import Picture

FAST_S = 0.5
SLOW_S = 2.0
SLOW_AFTER_S = 3.0


def stage(job: Job | None, shown: Picture | None, last: Picture | None) -> None:
    """Draw a job, redrawing while it runs, or else a picture of the gallery.

    `last` is shown dimmed during the next job. Finished jobs are drawn outside the fragment: their
    buttons start jobs and fill the form, which needs a full run.
    """
    period = period_of(job)
    with st.container(key="easel"):  # keeps its place while the content changes
        if job is not None and period is not None:
            st.fragment(_live, run_every=period)(job, period, last)
            return
        # In a container as a fragment is: the same elements then change in place.
        with st.container(), _row():
            if shown is not None:
                _picture(shown, job)
            elif job is not None:
                _over(job, last)


def period_of(job: Job | None) -> float | None:
    """Seconds between redraws of a job, or None if it won't change any more."""
    if job is None or not job.is_active:
        return None
    waiting = job.phase in (Phase.QUEUED, Phase.LOADING, Phase.RETRYING)
    return SLOW_S if waiting and job.elapsed_s > SLOW_AFTER_S else FAST_S


def _live(job: Job, period: float, last: Picture | None) -> None:
    if period_of(job) != period:
        st.rerun()  # only a full run changes or stops the timer
    with _row():
        with _canvas():
            st.html(_forming(job, last))
        with _side():
            _under_way(job)


def _row() -> DeltaGenerator:
    return st.container(horizontal=True, key="stage", gap="medium")


def _canvas() -> DeltaGenerator:
    return st.container(key="canvas", gap="small")


def _side() -> DeltaGenerator:
    return st.container(key="side", gap="small")


def _under_way(job: Job) -> None:
    st.html(f'<p class="ink-prompt">{html.escape(job.recipe.prompt)}</p>')
    st.html(html.announce(milestone(job)))
    st.button(
        "Cancel",
        key="cancel",
        icon=":material/stop_circle:",
        help="Esc",
        on_click=job.cancel,
        disabled=job.is_cancelled(),
    )
    others = [other for other in shared().jobs.of(owner()) if other.is_active and other is not job]
    if others:
        st.html(_others(others))
    if job.phase is Phase.RUNNING:
        st.set_page_config(page_title=f"{job.fraction:.0%} · {NAME}")


def _over(job: Job, last: Picture | None) -> None:
    if job.phase is Phase.DONE:
        _done(job, last)
        return
    with _canvas():
        st.html(easel.frame(_dimmed(last)) + easel.line("", ""))
    with _side():
        if job.phase is Phase.CANCELLED:
            st.html("<h2>Cancelled</h2><p>Nothing was kept. Your prompt and settings are.</p>")
            st.html(html.announce("Cancelled"))
        else:
            failure_card(job)


def _done(job: Job, last: Picture | None) -> None:
    # Read again: the visitor may have deleted or marked them meanwhile.
    pictures = shared().gallery.get_many(owner(), [picture.id for picture in job.pictures])
    if len(pictures) == 1 and not job.unsaved:
        _picture(pictures[0], job)
        return
    with _canvas():
        if pictures:
            finished(job, pictures)
        elif job.unsaved:
            unsaved_picture(job.unsaved[0])
        else:
            st.html(easel.frame(_dimmed(last)) + easel.line("", ""))
    with _side():
        unsaved(job, first_is_shown=not pictures)
        withheld(job)
        if pictures:
            batch_actions(job, pictures)
        elif not job.unsaved and not job.withheld:
            st.html("<h2>Deleted</h2><p>This picture is no longer in your gallery.</p>")


def _picture(picture: Picture, job: Job | None) -> None:
    """One picture with all its actions."""
    made_now = job is not None and any(made.id == picture.id for made in job.pictures)
    preview = job.preview if job is not None and made_now else None
    with _canvas():
        sides = picture.width, picture.height
        under = easel.under(html.data_address(preview), *sides) if preview else ""
        size = f"{picture.width} × {picture.height}"
        if picture.duration_ms:  # not of one that was imported or enlarged
            size += f" · {html.seconds(picture.duration_ms)}"
        st.html(
            easel.frame(under + easel.large(address(picture), picture.prompt, *sides))
            + easel.line(f"Seed {picture.seed}", size)
            + (html.announce("Your picture is ready") if made_now else "")
        )
        st.button("Enlarge", key="zoom", on_click=show, args=(picture.id,), width="stretch")
    with _side():
        if job is not None and made_now:
            withheld(job)
        picture_actions(picture, job if made_now else None)


def _forming(job: Job, last: Picture | None) -> str:
    inner = _dimmed(last)
    if job.preview is not None:
        alt = f"Preview at step {job.step} of {job.num_steps}"
        inner = easel.large(html.data_address(job.preview), alt, *_size(job.recipe), "ink-forming")
    left, right = caption(job)
    waiting = job.phase is not Phase.RUNNING
    return easel.frame(inner) + easel.line(left, right, round(job.fraction * 100), waiting=waiting)


def _size(recipe: Recipe) -> tuple[int, int]:
    """Size in pixels; the native size if the recipe has none."""
    abilities = shared().monitor.abilities.of(recipe.model)
    return recipe.width or abilities.native_width, recipe.height or abilities.native_height


def _dimmed(last: Picture | None) -> str:
    """The previous picture, dimmed, or the logo if there is none."""
    if last is None:
        return easel.blank()
    return easel.under(address(last, "thumb"), last.width, last.height, "ink-dim")


def caption(job: Job) -> tuple[str, str]:
    """What the job is doing, and how long it will take."""
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
        case Phase.QUEUED if job.position == 0 and _is_alone():
            return _starting_text(job), ""
        case Phase.QUEUED:
            return queue_text(job.position), _about(job.wait_ms)
        case Phase.CANCELLING:
            return "Cancelling…", ""
        case _:
            eta = f"{_about(job.eta_ms)} left" if job.step > 1 and job.eta_ms else ""
            return f"Step {job.step} of {job.num_steps}", eta


def queue_text(position: int) -> str:
    """The queue position as text."""
    return "You are next" if position == 0 else f"In the queue: {position} ahead of you"


def milestone(job: Job) -> str:
    """A line for screen readers that changes only occasionally."""
    if job.phase is not Phase.RUNNING:
        return caption(job)[0]
    quarter = int(job.fraction * 4) * 25
    return f"{quarter} percent" if quarter else "Started"


def _is_alone() -> bool:
    """Whether no other request is running, as far as known."""
    sample = shared().monitor.look(patience_s=0)
    if sample is None or sample.status is None:
        return False
    queue = sample.status.queue
    return queue.running + queue.queued <= 1


def _starting_text(job: Job) -> str:
    """A text for the first step, since some runtimes first have to compile for a new size."""
    if job.elapsed_s <= SLOW_AFTER_S:
        return "Starting…"
    return f"Getting ready for {job.recipe.size_words}: the first picture of a size takes longer"


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
