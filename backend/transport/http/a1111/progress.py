"""GET /sdapi/v1/progress, POST /sdapi/v1/interrupt and /skip, for the caller's latest job."""

from __future__ import annotations

import base64
import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backend.transport.http.a1111.sessions import Job, session_of
from backend.transport.http.problem import Json

BEGUN = 0.01  # A1111's progress before the first step


async def progress(request: Request) -> Response:
    job = session_of(request).latest
    if job is None:
        return JSONResponse({**_answer(0, 0, None), "state": _idle()})
    without = request.query_params.get("skip_current_image", "").lower() in ("1", "true")
    answer = _answer(_share(job), job.eta_s, None if without else job.preview)
    return JSONResponse({**answer, "state": _state(job), "textinfo": _text(job)})


async def interrupt(request: Request) -> Response:
    """Stop the job; finished images are still returned."""
    if job := session_of(request).latest:
        job.interrupt()
    return JSONResponse({})


async def skip(request: Request) -> Response:
    """Stop only the current round."""
    if job := session_of(request).latest:
        job.skip()
    return JSONResponse({})


def _answer(share: float, eta_s: float, preview: bytes | None) -> Json:
    return {
        "progress": share,
        "eta_relative": eta_s,
        "current_image": base64.b64encode(preview).decode() if preview else None,
        "textinfo": None,
    }


def _share(job: Job) -> float:
    rounds = job.number + (job.step / job.num_steps if job.num_steps else 0)
    return float(min(1, BEGUN + rounds / job.count))


def _state(job: Job) -> Json:
    return {
        "skipped": job.was_skipped,
        "interrupted": job.was_interrupted,
        "stopping_generation": False,
        "job": f"Batch {job.number + 1} out of {job.count}",
        "job_count": job.count,
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", job.begun_at),
        "job_no": job.number,
        "sampling_step": job.step,
        "sampling_steps": job.num_steps,
    }


def _idle() -> Json:
    return {**_state(Job(count=0, num_steps=0)), "job": "", "job_timestamp": "0"}


def _text(job: Job) -> str | None:
    if job.waits_behind is None:
        return None
    return f"In queue, {job.waits_behind} before this"
