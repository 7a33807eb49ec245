"""/v1/models: the served models and their aliases."""

from __future__ import annotations

import time

import grpc
from google.rpc import error_details_pb2
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backend.transport.http.body import unless_disconnected
from backend.transport.http.openai.aliases import Aliases
from backend.transport.http.problem import Json, Problem
from backend.transport.http.upstream import SERVICE, Upstream, caller_of
from proto import text2image_pb2 as pb

GET_STATUS = SERVICE.methods_by_name["GetStatus"]


async def list_all(request: Request) -> Response:
    """GET /v1/models: the served models, then the aliases of the default one."""
    return JSONResponse({"object": "list", "data": await _known(request)})


async def capabilities(request: Request) -> Response:
    """GET /v1/models/capabilities, with which LocalAI's clients find image models."""
    entries = [
        {
            "id": model["id"],
            "object": "model",
            "capabilities": ["image"],
            "input_modalities": ["text"],
            "output_modalities": ["image"],
        }
        for model in await _known(request)
    ]
    return JSONResponse({"object": "list", "data": entries})


async def retrieve(request: Request) -> Response:
    """GET /v1/models/{model}."""
    name = request.path_params["model"]
    served = await _served(request)
    for model in (*served, *_standing_for(served, (name,), request)):
        if model["id"] == name:
            return JSONResponse(model)
    text = "No such model; see /v1/models."
    resource = error_details_pb2.ResourceInfo(resource_type="model", resource_name=name[:200])
    raise Problem(grpc.StatusCode.NOT_FOUND, text, [resource])


async def _known(request: Request) -> list[Json]:
    served = await _served(request)
    aliases: Aliases = request.app.state.aliases
    return served + _standing_for(served, aliases.exact, request)


async def _served(request: Request) -> list[Json]:
    upstream: Upstream = request.app.state.upstream
    call = upstream.call(GET_STATUS, pb.GetStatusRequest(), caller_of(request))
    status = await unless_disconnected(request, call)
    assert isinstance(status, pb.GetStatusResponse)
    since = int(time.time() - status.uptime_s)
    return [
        {"id": model.name, "object": "model", "created": since, "owned_by": "text2image"}
        for model in status.models
    ]


def _standing_for(served: list[Json], names: tuple[str, ...], request: Request) -> list[Json]:
    """Entries for `names` as aliases of the first (default) model, except names in use."""
    aliases: Aliases = request.app.state.aliases
    if not served:
        return []
    taken = {model["id"] for model in served}
    return [
        {**served[0], "id": name, "alias_of": served[0]["id"]}
        for name in names
        if aliases.covers(name) and name not in taken
    ]
