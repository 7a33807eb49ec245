"""Errors in the format of AUTOMATIC1111's API."""

from __future__ import annotations

from typing import Any

import grpc
from pydantic import ValidationError
from starlette.responses import JSONResponse

from backend.transport.http.problem import Json, Problem, bad_fields

# Our name of a field: A1111's.
PARAMS = {
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "num_images": "batch_size",
    "scheduler": "sampler_name",
    "model": "sd_model_checkpoint",
    "init_image": "init_images",
    "strength": "denoising_strength",
    "upscale": "hr_scale",
    "upscale_strength": "denoising_strength",
    "output_format": "samples_format",
    "scale": "upscaling_resize",
    "upscaler": "upscaler_1",
}
UNPROCESSABLE = 422  # FastAPI's status for fields that it can't parse


def error(problem: Problem) -> Json:
    """A1111's error object; clients display `detail`."""
    text = "; ".join(f"{PARAMS.get(v.field, v.field)}: {v.description}" for v in problem.violations)
    text = text or problem.message
    return {"error": _name(problem), "detail": text, "body": "", "errors": text}


def response(problem: Problem) -> JSONResponse:
    headers = problem.headers
    if problem.code is grpc.StatusCode.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = 'Basic realm="any user name, the API key as password"'
    status = UNPROCESSABLE if problem.http_status == 400 else problem.http_status
    return JSONResponse(error(problem), status_code=status, headers=headers)


def not_found(text: str) -> Problem:
    """404, like A1111 for unknown names."""
    return Problem(grpc.StatusCode.NOT_FOUND, text)


def unreadable(error: ValidationError) -> Problem:
    """All fields of the wrong type, with pydantic's messages."""
    found = []
    for detail in error.errors(include_url=False, include_input=False):
        name = ".".join(map(str, detail["loc"]))[:64]
        found.append((name, f"{detail['msg'].removesuffix('.')}.", "WRONG_TYPE"))
    return bad_fields(found)


def _name(problem: Problem) -> str:
    """The exception A1111 would have raised; some programs look for OutOfMemoryError."""
    names: dict[Any, str] = {"OUT_OF_MEMORY": "OutOfMemoryError"}
    if problem.reason in names:
        return names[problem.reason]
    return "HTTPException" if problem.http_status < 500 else "RuntimeError"
