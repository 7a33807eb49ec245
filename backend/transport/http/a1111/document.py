"""A1111's paths in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from backend.transport.http.a1111.img2img import Img2Img
from backend.transport.http.a1111.lists import REFRESHED
from backend.transport.http.a1111.pictures import PngInfoRequest, Upscaling
from backend.transport.http.a1111.routes import PREFIX, routes
from backend.transport.http.a1111.txt2img import Txt2Img
from backend.transport.http.problem import Json

BODIES: dict[str, type[BaseModel] | None] = {
    "txt2img": Txt2Img,
    "img2img": Img2Img,
    "png-info": PngInfoRequest,
    "extra-single-image": Upscaling,
    "options": None,  # any object
}
TEXT: Json = {"type": "string"}
WITHOUT_BODY = ("interrupt", "skip", "interrogate", *(f"refresh-{what}" for what in REFRESHED))
ERRORS = {
    "401": "No or bad credentials: any user name, the API key as password.",
    "403": "Not allowed, or withheld.",
    "404": "No such model, sampler or upscaler.",
    "413": "The body is too large.",
    "415": "Not JSON.",
    "422": "Bad fields, all of them named.",
    "429": "Queue full.",
    "503": "Loading or draining.",
}


def paths() -> Json:
    """An operation for each route."""
    found: Json = {}
    for route in routes():
        for method in sorted((route.methods or set()) - {"HEAD"}):
            found.setdefault(route.path, {})[method.lower()] = _operation(route.path, method)
    return found


def schemas() -> Json:
    kinds = {kind.__name__: kind.model_json_schema() for kind in BODIES.values() if kind}
    error = {"type": "object", "properties": dict.fromkeys(("error", "detail", "errors"), TEXT)}
    return {f"A1111{name}": schema for name, schema in {**kinds, "Error": error}.items()}


def _operation(path: str, method: str) -> Json:
    name = path.removeprefix(PREFIX)
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/A1111Error"}}}
    answers: Json = {
        status: {"description": text, "content": error} for status, text in ERRORS.items()
    }
    ok = {"description": "As A1111 answers.", "content": {"application/json": {"schema": {}}}}
    operation: Json = {
        "operationId": f"a1111{method.title()}{name.title().replace('-', '').replace('/', '')}",
        "responses": {"200": ok, **answers},
    }
    if method == "POST" and name not in WITHOUT_BODY:
        content = {"application/json": {"schema": _body(BODIES[name])}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _body(kind: type[Any] | None) -> Json:
    if kind is None:
        return {"type": "object"}
    return {"$ref": f"#/components/schemas/A1111{kind.__name__}"}
