"""The GET endpoints with which A1111's clients fill their menus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backend.transport.http.a1111 import options, samplers
from backend.transport.http.a1111.generate import read_json, status_of
from backend.transport.http.a1111.sessions import session_of
from backend.transport.http.problem import Json
from proto import text2image_pb2 as pb

Status = pb.GetStatusResponse
Endpoint = Callable[[Request], Awaitable[Response]]

# Features of A1111 that we don't have: their lists are empty.
NOTHING: dict[str, object] = {
    "latent-upscale-modes": [],
    "sd-vae": [],
    "sd-modules": [],
    "prompt-styles": [],
    "hypernetworks": [],
    "face-restorers": [],
    "realesrgan-models": [],
    "scripts": {"txt2img": [], "img2img": []},
    "script-info": [],
    "extensions": [],
}

# What A1111 reads again when it is told to. Here every list is read from the folder as it is.
REFRESHED = ("checkpoints", "embeddings", "loras", "vae")


def told(tell: Callable[[Status], object]) -> Endpoint:
    """An endpoint whose answer is computed from the service's status."""

    async def endpoint(request: Request) -> Response:
        return JSONResponse(tell(await status_of(request)))

    return endpoint


def constant(answer: object) -> Endpoint:
    """An endpoint whose answer never changes."""

    async def endpoint(request: Request) -> Response:
        return JSONResponse(answer)

    return endpoint


async def get_options(request: Request) -> Response:
    status = await status_of(request)
    return JSONResponse(options.current(session_of(request).options, status.models))


async def set_options(request: Request) -> Response:
    """Set the caller's options. Open WebUI sends all options back, changed or not."""
    given = await read_json(request)
    status = await status_of(request)
    session_of(request).options |= options.accept(given, status.models)
    return JSONResponse(None)


def models(status: Status) -> list[Json]:
    return [
        {
            "title": options.title_of(model),
            "model_name": model.name,
            "hash": model.revision[: options.HASH_CHARACTERS] or None,
            "sha256": None,
            "filename": model.source or model.name,
            "config": None,
        }
        for model in status.models
    ]


def embeddings(status: Status) -> Json:
    loaded = {name: {"step": None, "sd_checkpoint": None} for name in status.embeddings}
    return {"loaded": loaded, "skipped": {}}


def loras(status: Status) -> list[Json]:
    return [{"name": name, "alias": name, "path": "", "metadata": {}} for name in status.loras]


def list_samplers(status: Status) -> list[Json]:
    return samplers.list_samplers(status.schedulers)


def list_schedules(status: Status) -> list[Json]:
    return samplers.list_schedules(status.schedulers)


def memory(status: Status) -> Json:
    """Memory in bytes. As in A1111, `used` RAM is that of the process."""
    resources = status.resources
    total, used = resources.system_memory_bytes, resources.process_memory_bytes
    return {"ram": _usage(total, used), "cuda": _cuda(resources)}


def _cuda(resources: pb.GetStatusResponse.Resources) -> Json:
    if not resources.gpus:
        return {"error": "unavailable"}
    gpu = resources.gpus[0]
    return {"system": _usage(gpu.memory_bytes, gpu.memory_used_bytes)}


def _usage(total: int, used: int) -> Json:
    return {"free": max(0, total - used), "used": used, "total": total}
