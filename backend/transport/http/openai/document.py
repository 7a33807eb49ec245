"""OpenAI's paths in the OpenAPI document."""

from __future__ import annotations

from pydantic import BaseModel

from backend.transport.http.openai import form
from backend.transport.http.openai.edits import EditsRequest, VariationsRequest
from backend.transport.http.openai.request import ImagesRequest
from backend.transport.http.openai.shelf import PATH
from backend.transport.http.picture import FORMATS as PICTURES
from backend.transport.http.problem import Json

TEXT: Json = {"type": "string"}
FILE: Json = {"type": "string", "format": "binary"}
# A server-sent event; its data is JSON.
EVENT: Json = {
    "type": "object",
    "properties": {"event": TEXT, "data": TEXT, "id": TEXT, "retry": {"type": "integer"}},
}
IGNORED: Json = {
    "X-Ignored-Parameters": {"schema": TEXT, "description": "Names of what had no effect."}
}
FORM_TEXT = "Beside the files, the fields of {} as text."


def paths(errors: Json) -> Json:
    """`errors`: the answers that every operation may have."""
    models = {"application/json": {"schema": {"type": "object"}}}
    return {
        "/v1/images/generations": _images("createImage", _json_body(), errors),
        "/v1/images/edits": _images("editImage", _form_body(EditsRequest, "mask"), errors),
        "/v1/images/variations": _images("varyImage", _form_body(VariationsRequest), errors),
        f"{PATH}{{name}}": {
            "get": {
                "operationId": "retrieveFile",
                "security": [],
                "parameters": [_parameter("name")],
                "responses": {"200": {"description": "The picture.", "content": pictures()}}
                | errors,
            }
        },
        "/v1/models": _get("listModels", "The models served.", models, errors),
        "/v1/models/capabilities": _get("listCapabilities", "What each can do.", models, errors),
        "/v1/models/{model}": {
            "get": {
                **_get("retrieveModel", "One model.", models, errors)["get"],
                "parameters": [_parameter("model")],
            }
        },
    }


def schemas() -> Json:
    images = ImagesRequest.model_json_schema(ref_template="#/components/schemas/OpenAI{model}")
    datum = _object({"b64_json": TEXT, "url": TEXT, "seed": {"type": "integer"}})
    error = _object(dict.fromkeys(("message", "type", "code", "reason"), TEXT))
    error["properties"]["param"] = {"type": ["string", "null"]}
    return {
        **{f"OpenAI{name}": schema for name, schema in images.pop("$defs").items()},
        "OpenAIError": _object({"error": error}),
        "ImagesRequest": images,
        "ImagesResponse": _object(
            {
                "created": {"type": "integer"},
                "data": {"type": "array", "items": datum},
                "nsfw_withheld": {"type": "integer", "description": "How many are left out."},
            }
        ),
    }


def pictures() -> Json:
    """An answer that is a picture."""
    return {kind: {"schema": FILE} for kind in PICTURES}


def _images(name: str, body: Json, errors: Json) -> Json:
    content = {
        "application/json": {"schema": {"$ref": "#/components/schemas/ImagesResponse"}},
        "text/event-stream": {"schema": EVENT},
    }
    answer = {"description": "Pictures.", "headers": IGNORED, "content": content}
    post = {"operationId": name, "requestBody": body, "responses": {"200": answer} | errors}
    return {"post": post}


def _json_body() -> Json:
    schema = {"$ref": "#/components/schemas/ImagesRequest"}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _form_body(kind: type[BaseModel], *files: str) -> Json:
    required = [name for name, field in kind.model_fields.items() if field.is_required()]
    schema = {
        "type": "object",
        "description": FORM_TEXT.format("ImagesRequest, and `strength`,"),
        "properties": {
            "image": FILE,
            **dict.fromkeys(files, FILE),
            **dict.fromkeys(required, TEXT),
        },
        "required": ["image", *required],
    }
    return {"required": True, "content": {form.MEDIA_TYPE: {"schema": schema}}}


def _get(name: str, text: str, content: Json, errors: Json) -> Json:
    ok = {"200": {"description": text, "content": content}}
    return {"get": {"operationId": name, "responses": ok | errors}}


def _parameter(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": TEXT}


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties}
