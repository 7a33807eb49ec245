"""The OpenAPI document: schemas and rpcs from protobuf descriptors, the rest by hand."""

from __future__ import annotations

import functools
import json
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor
from starlette.requests import Request
from starlette.responses import Response

from backend.transport.http.a1111.document import paths as a1111_paths
from backend.transport.http.a1111.document import schemas as a1111_schemas
from backend.transport.http.comments import comments
from backend.transport.http.compression import respond
from backend.transport.http.openai.request import ImagesRequest
from backend.transport.http.picture import FORMATS as PICTURES
from backend.transport.http.upstream import SERVICE, path_of
from proto import text2image_pb2

Json = dict[str, Any]

# ProtoJSON writes 64-bit integers as strings, and also accepts numbers.
_INT64 = {"type": ["string", "integer"], "format": "int64", "pattern": "^-?(0|[1-9][0-9]*)$"}
_SCALARS: dict[int, Json] = {
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_INT64: _INT64,
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
}


async def document(request: Request) -> Response:
    """GET /openapi.json."""
    return await respond(request, _encoded)


@functools.cache
def _encoded() -> bytes:
    return json.dumps(build()).encode()


@functools.cache
def build() -> Json:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Text2Image",
            "version": "1",
            "description": "Text to images over HTTP: the gRPC contract as JSON (the Connect "
            "protocol), OpenAI's image API and A1111's. GetStatus tells limits, models and "
            "schedulers.",
        },
        "paths": {
            **_rpc_paths(),
            **_openai_paths(),
            **a1111_paths(),
            **_mcp_path(),
            **_probe_paths(),
        },
        "components": {
            "schemas": {**_contract_schemas(), **_own_schemas(), **a1111_schemas()},
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"apiKey": []}],
    }


def _rpc_paths() -> Json:
    return {path_of(method): _rpc(method) for method in SERVICE.methods}


def _rpc(method: MethodDescriptor) -> Json:
    schema = _reference(method.input_type)
    post = {
        "operationId": method.name,
        **_described(method.full_name),
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": _rpc_answer(method), **_error_answers("ConnectError")},
    }
    if not method.server_streaming:
        return {"post": post}
    parameter = {
        "name": "message",
        "in": "query",
        "required": True,
        "content": {"application/json": {"schema": schema}},
    }
    get = {**post, "operationId": f"{method.name}ByQuery", "parameters": [parameter]}
    del get["requestBody"]
    return {"post": post, "get": get}


def _rpc_answer(method: MethodDescriptor) -> Json:
    schema = _reference(method.output_type)
    if method.server_streaming:
        text = "Events named after the message's oneof; `failed` carries a ConnectError."
        return {"description": text, "content": {"text/event-stream": {"schema": schema}}}
    content: Json = {"application/json": {"schema": schema}}
    if method.output_type is text2image_pb2.GenerateImageResponse.DESCRIPTOR:
        content |= _pictures()
    return {"description": "Done; with Accept: image/* the picture itself.", "content": content}


def _pictures() -> Json:
    return {kind: {"schema": {"type": "string", "format": "binary"}} for kind in PICTURES}


def _error_answers(schema: str) -> Json:
    content = {"application/json": {"schema": _named(schema)}}
    retry_after = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return {
        "400": {"description": "Bad fields, all of them named.", "content": content},
        "401": {"description": "No or bad credentials.", "content": content},
        "403": {"description": "Not allowed, or withheld.", "content": content},
        "404": {"description": "No such model.", "content": content},
        "409": {"description": "The request id is another request's.", "content": content},
        "413": {"description": "The body is too large.", "content": content},
        "415": {"description": "Not a media type that is served.", "content": content},
        "429": {"description": "Queue full.", "headers": retry_after, "content": content},
        "503": {"description": "Loading or draining.", "headers": retry_after, "content": content},
        "504": {"description": "The caller's deadline passed.", "content": content},
    }


def _contract_schemas() -> Json:
    file = text2image_pb2.DESCRIPTOR
    schemas: Json = {}
    for message in file.message_types_by_name.values():
        _add_message(message, schemas)
    for enum in file.enum_types_by_name.values():
        schemas[_name(enum)] = _enum(enum)
    return schemas


def _add_message(message: Descriptor, schemas: Json) -> None:
    properties = {field.json_name: _field(field) for field in message.fields}
    schemas[_name(message)] = {
        **_described(message.full_name),
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    for nested in message.nested_types:
        _add_message(nested, schemas)
    for enum in message.enum_types:
        schemas[_name(enum)] = _enum(enum)


def _field(field: FieldDescriptor) -> Json:
    schema = _value(field)
    if field.is_repeated:
        schema = {"type": "array", "items": schema}
    return {**schema, **_described(field.full_name)}


def _value(field: FieldDescriptor) -> Json:
    if field.message_type is not None:
        return _reference(field.message_type)
    if field.enum_type is not None:
        return _reference(field.enum_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    return _SCALARS.get(field.cpp_type, {"type": "string"})


def _enum(enum: EnumDescriptor) -> Json:
    names = [value.name for value in enum.values]
    return {**_described(enum.full_name), "type": "string", "enum": names}


def _described(full_name: str) -> Json:
    comment = comments().get(full_name)
    return {"description": comment} if comment else {}


def _name(descriptor: Descriptor | EnumDescriptor) -> str:
    return descriptor.full_name.removeprefix(f"{descriptor.file.package}.")


def _reference(descriptor: Descriptor | EnumDescriptor) -> Json:
    return _named(_name(descriptor))


def _named(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}


def _openai_paths() -> Json:
    body = {"required": True, "content": {"application/json": {"schema": _named("ImagesRequest")}}}
    content = {
        "application/json": {"schema": _named("ImagesResponse")},
        "text/event-stream": {"schema": {"type": "string"}},
    }
    errors = _error_answers("OpenAIError")
    models = {"application/json": {"schema": {"type": "object"}}}
    name = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "/v1/images/generations": {
            "post": {
                "operationId": "createImage",
                "requestBody": body,
                "responses": {"200": {"description": "Pictures.", "content": content}, **errors},
            }
        },
        "/v1/models": {
            "get": {
                "operationId": "listModels",
                "responses": {
                    "200": {"description": "The models served.", "content": models},
                    **errors,
                },
            }
        },
        "/v1/models/capabilities": {
            "get": {
                "operationId": "listCapabilities",
                "responses": {
                    "200": {"description": "What each model can do.", "content": models},
                    **errors,
                },
            }
        },
        "/v1/images/files/{name}": {
            "get": {
                "operationId": "retrieveFile",
                "parameters": [{**name, "name": "name"}],
                "responses": {
                    "200": {"description": "The picture.", "content": _pictures()},
                    "404": errors["404"],
                },
            }
        },
        "/v1/models/{model}": {
            "get": {
                "operationId": "retrieveModel",
                "parameters": [name],
                "responses": {
                    "200": {"description": "One model.", "content": models},
                    **errors,
                },
            }
        },
    }


def _mcp_path() -> Json:
    """https://modelcontextprotocol.io/specification describes its messages."""
    messages: Json = {"application/json": {"schema": {}}, "text/event-stream": {"schema": {}}}
    session = {
        "name": "Mcp-Session-Id",
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
    }
    answer = {"description": "As the protocol has it.", "content": messages}
    body = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    operations: Json = {
        method: {
            "operationId": f"{method}Mcp",
            "parameters": [session],
            "responses": {"200": answer, "default": answer},
        }
        for method in ("get", "post", "delete")
    }
    operations["post"]["requestBody"] = body
    return {"/mcp": operations}


def _probe_paths() -> Json:
    ok, not_ready = {"description": "Yes."}, {"description": "Not now."}
    return {
        "/healthz": {"get": {"operationId": "isAlive", "responses": {"200": ok}}},
        "/health": {"get": {"operationId": "isAliveToo", "responses": {"200": ok}}},
        "/readyz": {"get": {"operationId": "isReady", "responses": {"200": ok, "503": not_ready}}},
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "responses": {"200": {"description": "Prometheus text format."}},
            }
        },
    }


def _own_schemas() -> Json:
    text: Json = {"type": "string"}
    images = ImagesRequest.model_json_schema(ref_template="#/components/schemas/OpenAI{model}")
    return {
        "ConnectError": _object(
            {"code": text, "message": text, "details": {"type": "array", "items": {}}}
        ),
        "OpenAIError": _object(
            {
                "error": _object(
                    {
                        "message": text,
                        "type": text,
                        "param": {"type": ["string", "null"]},
                        "code": text,
                    }
                )
            }
        ),
        **{f"OpenAI{name}": schema for name, schema in images.pop("$defs").items()},
        "ImagesRequest": images,
        "ImagesResponse": _object(
            {"created": {"type": "integer"}, "data": {"type": "array", "items": {"type": "object"}}}
        ),
    }


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties}
