"""The request as code in several languages. Every value is quoted for its language."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from ui.job_request import options_of
from ui.recipe import Recipe

METHOD = "text2image.Text2ImageService"
PLAIN_CHARACTERS = 150  # a text so short fits into the encoder's window
SYNTAX = re.compile(r"[()\[\]\\<>]|\bBREAK\b")
LANGUAGES = {
    "Python": "python",
    "Shell": "bash",
    "curl": "bash",
    "buf": "bash",
    "Node": "javascript",
}


def snippet(language: str, recipe: Recipe, address: str) -> str:
    """The request as code. `language` is a name from LANGUAGES; `address` is HOST:PORT."""
    makers = {"Python": _python, "Shell": _shell, "curl": _curl, "buf": _buf, "Node": _node}
    return makers[language](_fields(recipe), address)


def _fields(recipe: Recipe) -> dict[str, Any]:
    """The request's fields by their names in the proto file, without unset ones."""
    fields: dict[str, Any] = {"prompt": recipe.prompt or "a red apple", **options_of(recipe, 1)}
    del fields["preview_interval"]
    if recipe.count == 1:
        del fields["num_images"]
    if _has_syntax(recipe):
        fields["prompt_syntax"] = "a1111"
    return {name: value for name, value in fields.items() if value not in ("", None)}


def _python(fields: dict[str, Any], address: str) -> str:
    options = "".join(f"        {name}={value!r},\n" for name, value in list(fields.items())[1:])
    return (
        "from pathlib import Path\n\n"
        "from client import Text2ImageClient\n\n"
        f'with Text2ImageClient("{address}") as client:\n'
        "    generation = client.generate(\n"
        f"        {fields['prompt']!r},\n{options}"
        "    )\n"
        'Path("picture.png").write_bytes(generation.images[0].data)\n'
    )


def _shell(fields: dict[str, Any], address: str) -> str:
    names = {"num_inference_steps": "steps"}
    options = " ".join(
        f"--{names.get(name, name).replace('_', '-')} {shlex.quote(str(value))}"
        for name, value in list(fields.items())[1:]
    )
    prompt = shlex.quote(fields["prompt"])
    return (
        f"TEXT2IMAGE_ADDRESS={address} python client.py generate {prompt} \\\n"
        f"  {options} --output picture.png\n"
    )


def _curl(fields: dict[str, Any], address: str) -> str:
    host = address.rsplit(":", 1)[0]
    return (
        f"curl -s http://{host}:8080/{METHOD}/GenerateImage \\\n"
        "  -H 'Content-Type: application/json' -H 'Accept: image/png' \\\n"
        f"  -d {shlex.quote(_json(fields))} -o picture.png\n"
    )


def _buf(fields: dict[str, Any], address: str) -> str:
    return (
        "buf curl --protocol grpc --http2-prior-knowledge \\\n"
        f"  -d {shlex.quote(_json(fields))} \\\n"
        f"  http://{address}/{METHOD}/StreamGenerateImage\n"
    )


def _node(fields: dict[str, Any], address: str) -> str:
    request = json.dumps(_on_the_wire(fields), indent=2)
    return (
        'const fs = require("node:fs");\n'
        'const grpc = require("@grpc/grpc-js");\n'
        'const loader = require("@grpc/proto-loader");\n\n'
        'const definition = loader.loadSync("text2image.proto", { keepCase: true });\n'
        "const { text2image } = grpc.loadPackageDefinition(definition);\n"
        f'const client = new text2image.Text2ImageService("{address}",\n'
        "  grpc.credentials.createInsecure());\n"
        f"client.GenerateImage({request}, (error, answer) => {{\n"
        "  if (error) throw error;\n"
        '  fs.writeFileSync("picture.png", answer.images[0].data);\n'
        "});\n"
    )


def _has_syntax(recipe: Recipe) -> bool:
    """Whether the prompts are more than a short plain text."""
    texts = (recipe.prompt, recipe.negative_prompt)
    return any(len(text) > PLAIN_CHARACTERS or SYNTAX.search(text) for text in texts)


def _json(fields: dict[str, Any]) -> str:
    return json.dumps(_on_the_wire(fields), ensure_ascii=False)


def _on_the_wire(fields: dict[str, Any]) -> dict[str, Any]:
    """Names of enum values in full."""
    given = "prompt_syntax" in fields
    return fields | ({"prompt_syntax": "PROMPT_SYNTAX_A1111"} if given else {})
