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
from backend.transport.http.openai import document as openai
from backend.transport.http.upstream import SERVICE, path_of
from proto import text2image_pb2

Json = dict[str, Any]

# ProtoJSON writes 64-bit integers as strings.
_INT64 = {"type": ["string", "integer"], "format": "int64", "pattern": "^-?(0|[1-9][0-9]*)$"}
# It reads numbers in quotes, null for what is not given, and the numbers of an enum.
_QUOTED = {"pattern": r"^(-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|NaN|-?Infinity)$"}
_READ: dict[int, Json] = {
    FieldDescriptor.CPPTYPE_INT32: {
        "type": ["integer", "string", "null"],
        "minimum": -(2**31),
        "maximum": 2**31 - 1,
        **_QUOTED,
    },
    FieldDescriptor.CPPTYPE_INT64: {
        "type": ["integer", "string", "null"],
        "minimum": -(2**63),
        "maximum": 2**63 - 1,
        **_QUOTED,
    },
    FieldDescriptor.CPPTYPE_FLOAT: {"type": ["number", "string", "null"], **_QUOTED},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": ["number", "string", "null"], **_QUOTED},
    FieldDescriptor.CPPTYPE_BOOL: {"type": ["boolean", "null"]},
    FieldDescriptor.CPPTYPE_STRING: {"type": ["string", "null"]},
}
_REQUIRED = {"text2image.GenerateImageRequest": ["prompt"]}
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
            **openai.paths(_error_answers("OpenAIError")),
            **a1111_paths(),
            **_mcp_path(),
            **_probe_paths(),
        },
        "components": {
            "schemas": {
                **_contract_schemas(),
                "ConnectError": _connect_error(),
                **openai.schemas(),
                **a1111_schemas(),
            },
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
        text = (
            f"Server-sent events named after the oneof of {_name(method.output_type)}, their data "
            "that message as JSON; `failed` carries a ConnectError."
        )
        content: Json = {"text/event-stream": {"schema": openai.EVENT}}
        return {"description": text, "content": content}
    content = {"application/json": {"schema": schema}}
    if method.output_type is text2image_pb2.GenerateImageResponse.DESCRIPTOR:
        content |= openai.pictures()
    return {"description": "Done; with Accept: image/* the picture itself.", "content": content}


def _error_answers(schema: str) -> Json:
    content = {"application/json": {"schema": _named(schema)}}
    retry_after = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return {
        "400": {"description": "Bad fields, all of them named.", "content": content},
        "401": {"description": "No or bad credentials.", "content": content},
        "403": {"description": "Not allowed, or withheld.", "content": content},
        "404": {"description": "No such model.", "content": content},
        "409": {"description": "The request id is another request's.", "content": content},
        "405": {"description": "Not a method of this path.", "content": content},
        "406": {"description": "What is accepted is not served.", "content": content},
        "413": {"description": "The body is too large.", "content": content},
        "415": {"description": "Not a media type that is served.", "content": content},
        "500": {"description": "A fault of the service.", "content": content},
        "429": {"description": "Queue full.", "headers": retry_after, "content": content},
        "501": {"description": "Not supported.", "content": content},
        "503": {"description": "Loading or draining.", "headers": retry_after, "content": content},
        "504": {"description": "The caller's deadline passed.", "content": content},
    }


def _contract_schemas() -> Json:
    file = text2image_pb2.DESCRIPTOR
    schemas: Json = {}
    requests = {method.input_type for method in SERVICE.methods}
    for message in file.message_types_by_name.values():
        _add_message(message, schemas)
        if message in requests:
            schemas[_name(message)] |= _as_read(message)
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


def _as_read(message: Descriptor) -> Json:
    """Each field by its name in JSON and by that in the contract."""
    properties: Json = {}
    for field in message.fields:
        schema = _read_field(field)
        properties[field.name] = {**schema, "description": f"The same as {field.json_name}."}
        properties[field.json_name] = {**schema, **_described(field.full_name)}
    required = _REQUIRED.get(message.full_name)
    return {"properties": properties} | ({"required": required} if required else {})


def _read_field(field: FieldDescriptor) -> Json:
    if field.is_repeated:
        return {"type": ["array", "null"], "items": _value(field)}
    if field.enum_type is not None:
        names = [value.name for value in field.enum_type.values]
        bounds = {"minimum": -(2**31), "maximum": 2**31 - 1}
        return {"anyOf": [{"enum": [*names, None]}, {"type": "integer", **bounds}]}
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {"type": ["string", "null"], "contentEncoding": "base64"}
    if field.message_type is not None:
        return {"anyOf": [_reference(field.message_type), {"type": "null"}]}
    return _READ[field.cpp_type]


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
                "responses": {
                    "200": {"description": "Prometheus text format."},
                    **_error_answers("ConnectError"),
                },
            }
        },
    }


def _connect_error() -> Json:
    text: Json = {"type": "string"}
    details = {"type": "array", "items": {"type": "object"}}
    return {"type": "object", "properties": {"code": text, "message": text, "details": details}}
