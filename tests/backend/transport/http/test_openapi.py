from __future__ import annotations

from typing import Any

import jsonschema
from google.protobuf import json_format

from backend.transport.http import create_app, openapi
from backend.transport.http.comments import comments, read
from proto import text2image_pb2 as pb
from tests.support import fake_answers
from tests.support.fake_service import FakeService
from tests.support.http_front import front


def schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}", "components": openapi.build()["components"]}


def test_every_route_is_in_the_document_and_the_other_way_round() -> None:
    served = {route.path.replace(":path", "") for route in create_app("localhost:1").routes}  # type: ignore[attr-defined]
    assert set(openapi.build()["paths"]) == served - {"/openapi.json"}


def test_every_reference_leads_somewhere() -> None:
    names = set(openapi.build()["components"]["schemas"])
    assert set(_references(openapi.build())) <= {f"#/components/schemas/{name}" for name in names}


def _references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [found for item in node for found in _references(item)]
    if not isinstance(node, dict):
        return []
    found = [found for item in node.values() for found in _references(item)]
    return found + ([node["$ref"]] if "$ref" in node else [])


def test_real_messages_fit_their_schemas() -> None:
    request = fake_answers.resolve(pb.GenerateImageRequest(prompt="a fox"), 4)
    for message in (request, fake_answers.info(request), fake_answers.ready_status()):
        value = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
        jsonschema.validate(value, schema(message.DESCRIPTOR.name))


def test_the_contracts_comments_are_the_descriptions() -> None:
    schemas = openapi.build()["components"]["schemas"]
    prompt = schemas["GenerateImageRequest"]["properties"]["prompt"]["description"]
    assert prompt.startswith("What the image should show. Required, 1 to 2,000 characters")
    queued = schemas["GenerateImageEvent"]["properties"]["queued"]
    assert queued["description"].startswith("Sent when the request waits")
    post = openapi.build()["paths"]["/text2image.Text2ImageService/GetStatus"]["post"]
    assert "never waits for the model" in post["description"]


def test_comments_belong_to_names_that_exist() -> None:
    file = pb.DESCRIPTOR
    known = set(file.enum_types_by_name)
    known |= {name for service in file.services_by_name.values() for name in _service(service)}
    for message in file.message_types_by_name.values():
        known |= _names(message)
    values = {value.name for enum in file.enum_types_by_name.values() for value in enum.values}
    found = {name.removeprefix("text2image.") for name in comments()}
    assert {name for name in found - known if name.split(".")[-1] not in values} == set()
    assert len(found) >= 70


def _service(service: Any) -> list[str]:
    return [service.name, *(f"{service.name}.{method.name}" for method in service.methods)]


def _names(message: Any) -> set[str]:
    full = message.full_name.removeprefix("text2image.")
    names = {full} | {f"{full}.{field.name}" for field in message.fields}
    for enum in message.enum_types:
        names |= {f"{full}.{enum.name}"} | {f"{full}.{enum.name}.{v.name}" for v in enum.values}
    return names.union(*(_names(nested) for nested in message.nested_types))


def test_a_comment_ends_at_what_it_stands_before() -> None:
    text = "package p;\n// Lost.\n\nmessage A {\n  // Of b.\n  int32 b = 1;\n  int32 c = 2;\n}\n"
    assert read(text) == {"p.A.b": "Of b."}


async def test_it_is_served() -> None:
    with FakeService() as service:
        async with front(service) as http:
            answer = await http.get("/openapi.json")
    assert answer.json() == openapi.build()
    assert answer.json()["openapi"] == "3.1.0"
