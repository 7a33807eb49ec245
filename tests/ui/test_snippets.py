import ast
import json
import shlex

import pytest
from google.protobuf import json_format

import client
from proto import text2image_pb2 as pb
from ui.recipe import Recipe
from ui.snippets import LANGUAGES, snippet

NASTY = Recipe(
    "a 'cat' \"hat\" $(rm) `x` \\ 🐈", "no\nlines", 64, 72, 9, 2.5, 7, "ddim", "sd-turbo", count=2
)
ADDRESS = "127.0.0.1:50051"


def json_of(code: str) -> dict[str, object]:
    words = shlex.split(code.replace("\\\n", " "))
    found: dict[str, object] = json.loads(words[words.index("-d") + 1])
    return found


def test_python_says_the_same_request() -> None:
    tree = ast.parse(snippet("Python", NASTY, ADDRESS))
    call = next(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "generate"
    )
    assert ast.literal_eval(call.args[0]) == NASTY.prompt
    options = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    assert options["num_inference_steps"] == 9
    assert options["negative_prompt"] == "no\nlines"
    assert options["model"] == "sd-turbo"
    assert options["prompt_syntax"] == client.PromptSyntax.A1111.value, "as the studio asks"


def test_the_command_line_takes_what_the_snippet_says() -> None:
    words = shlex.split(snippet("Shell", NASTY, ADDRESS).replace("\\\n", " "))
    assert words[:4] == [f"TEXT2IMAGE_ADDRESS={ADDRESS}", "python", "client.py", "generate"]
    assert words[4] == NASTY.prompt
    assert words[words.index("--steps") + 1] == "9"
    assert words[words.index("--model") + 1] == "sd-turbo"
    assert words[words.index("--prompt-syntax") + 1] == "a1111"


@pytest.mark.parametrize("language", ["curl", "buf"])
def test_json_survives_the_shell(language: str) -> None:
    found = json_of(snippet(language, NASTY, ADDRESS))
    assert found["prompt"] == NASTY.prompt
    assert found["seed"] == 7
    assert found["model"] == "sd-turbo"
    assert json_format.ParseDict(found, pb.GenerateImageRequest()).prompt_syntax == (
        pb.PROMPT_SYNTAX_A1111
    )
    plain = Recipe("a cat", "", 64, 72, 9, 2.5, 7, "ddim")
    assert "prompt_syntax" not in json_of(snippet(language, plain, ADDRESS))


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_empty_form_gives_a_whole_example(language: str) -> None:
    assert "a red apple" in snippet(language, Recipe(), ADDRESS)
