"""The command line: what it prints where, its files and its exit codes."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from google.protobuf import json_format
from PIL import Image

from client import main
from proto import text2image_pb2 as pb
from tests.support.fake_service import FakeService
from text2image.cli import display, files, generate
from text2image.types import Progress, Queued

pytestmark = pytest.mark.usefixtures("found")


def names() -> list[str]:
    return sorted(os.listdir())


def test_no_arguments_print_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "exit codes:" in capsys.readouterr().out


def test_every_option_is_sent(service: FakeService) -> None:
    arguments = """--width 72 --height 80 --steps 4 --guidance-scale 0 --negative-prompt pears
        --seed 0 --num-images 2 --scheduler euler --model fake --format webp
        --lora pixel --lora ink:-0.5 --prompt-syntax a1111 --clip-skip 2
        --request-id mine -o out
        --init-image start.png --mask mask.png --strength 0.5 --upscale 2 --upscale-strength 0.25"""
    Path("start.png").write_bytes(b"start")
    Path("mask.png").write_bytes(b"mask")
    assert main(["generate", "a red apple", *arguments.split()]) == 0
    expected = pb.GenerateImageRequest(
        prompt="a red apple",
        width=72,
        height=80,
        num_inference_steps=4,
        guidance_scale=0,
        negative_prompt="pears",
        seed=0,
        num_images=2,
        scheduler="euler",
        model="fake",
        output_format=pb.IMAGE_FORMAT_WEBP,
        loras=[pb.Lora(name="pixel", scale=1), pb.Lora(name="ink", scale=-0.5)],
        prompt_syntax=pb.PROMPT_SYNTAX_A1111,
        clip_skip=2,
        request_id="mine",
        init_image=b"start",
        mask=b"mask",
        strength=0.5,
        upscale=2,
        upscale_strength=0.25,
    )
    assert service.requests == [expected]
    assert names() == ["mask.png", "out", "out-2", "start.png"]
    assert Image.open("out").format == "WEBP"


@pytest.mark.parametrize(
    ("name", "kind"), [("x.png", "PNG"), ("x.JPEG", "JPEG"), ("x.webp", "WEBP")]
)
def test_the_ending_chooses_the_format(service: FakeService, name: str, kind: str) -> None:
    assert main(["generate", "x", "-o", name]) == 0
    assert Image.open(name).format == kind


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--init-image", "none.png"], "can't read none.png: No such file"),
        (["--mask", "here.png"], "--mask needs --init-image"),
        (
            ["--init-image", "here.png"],
            "5,000,000 bytes to start from; the service takes 4,128,768",
        ),
    ],
)
def test_files_that_can_not_be_started_from_are_refused_here(
    service: FakeService,
    arguments: list[str],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("here.png").write_bytes(b"x" * 5_000_000)
    assert main(["generate", "x", *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert service.requests == []


def test_metadata_lies_beside_each_picture(service: FakeService) -> None:
    arguments = ["-o", "x.png", "--num-images", "2", "--seed", "7", "--save-metadata"]
    assert main(["generate", "ein Apfel 🍎", *arguments]) == 0
    assert names() == ["x-2.json", "x-2.png", "x.json", "x.png"]
    story = json.loads(Path("x-2.json").read_text("utf-8"))
    assert (story["file"], story["seed"], story["model"]) == ("x-2.png", 8, "fake")
    assert story["params"]["prompt"] == "ein Apfel 🍎"
    assert story["params"]["num_inference_steps"] == 3
    assert story["timings"]["total_ms"] == 37.0


def test_without_a_name_nothing_is_overwritten(service: FakeService) -> None:
    assert main(["generate", "x"]) == 0
    assert len(names()) == 1
    assert names()[0].startswith("text2image-2")


def test_overwrite_replaces(service: FakeService) -> None:
    Path("x.png").write_bytes(b"old")
    assert main(["generate", "x", "-o", "x.png", "--overwrite"]) == 0
    Image.open("x.png").load()


def test_the_preview_is_there_while_it_runs_and_gone_afterwards(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def watch(file: Path, data: bytes, overwrite: bool) -> None:
        files.write_file(file, data, overwrite)
        Image.open(file).load()
        seen.append(file.name)

    monkeypatch.setattr(generate, "write_file", watch)
    assert main(["generate", "x", "-o", "x.png", "--preview"]) == 0
    assert seen == ["x.preview.jpg"] * 3 + ["x.png"]
    assert names() == ["x.png"]


def test_json_tells_all_and_stderr_stays_quiet_where_asked(
    service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", "x", "-o", "x.png", "--json", "--quiet", "--save-metadata"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    told = json.loads(printed.out)
    assert told["images"][0]["file"] == "x.png"
    assert told["images"][0]["metadata"] == "x.json"
    assert told["info"]["exactness"] == "certified"


def test_progress_in_a_log_is_plain_lines(
    service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.queue = [1]
    assert main(["generate", "x", "-o", "x.png", "--steps", "40", "--seed", "5"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "1 ahead in the queue"
    assert lines[-2:] == ["step 40/40", "done in 0.0 s with fake on cpu, seed 5"]
    assert len(lines) <= 13


@pytest.mark.parametrize("columns", [1, 7, 20, 40, 200])
def test_the_bar_never_fills_the_line(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = io.StringIO()
    bar = display.Bar(terminal)
    bar.queued(Queued(position=12, estimated_wait_ms=125_000))
    for step in (0, 1, 60, 60):
        bar.progress(Progress(step, 50, 4_000))
    bar.clear()
    drawn = terminal.getvalue().split("\r")
    assert all(len(line) < max(2, columns) for line in drawn)
    assert "\n" not in terminal.getvalue()
    assert terminal.getvalue().isascii()


@pytest.mark.parametrize(
    ("state", "exit_code"),
    [("READY", 0), ("STARTING", 3), ("DRAINING", 3), ("STUCK", 3), ("FAILED", 1)],
)
def test_status_says_whether_it_can_generate(
    service: FakeService, capsys: pytest.CaptureFixture[str], state: str, exit_code: int
) -> None:
    service.status.MergeFrom(
        json_format.ParseDict({"state": f"STATE_{state}"}, pb.GetStatusResponse())
    )
    service.status.message = "just\nso \x1b[2J"
    assert main(["status"]) == exit_code
    table = capsys.readouterr().out
    assert state in table.splitlines()[0]
    assert "just so  [2J" in table
    assert "pndm ddim euler" in table


def test_status_as_json(service: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["state"] == "ready"
    assert status["models"][0]["name"] == "fake"
    assert status["limits"]["max_pixels"] == 1024 * 1024


def test_the_key_comes_from_the_environment(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXT2IMAGE_API_KEY", "s3cret")
    assert main(["generate", "x"]) == 0
    assert service.metadata[0]["authorization"] == "Bearer s3cret"


def test_wait_waits(service: FakeService) -> None:
    service.set_serving(False)
    service.status.state = pb.GetStatusResponse.STATE_FAILED
    assert main(["generate", "x", "--wait", "5"]) == 1
    service.set_serving(True)
    assert main(["generate", "x", "--wait", "5"]) == 0


def test_warnings_go_to_stderr_and_into_the_json(
    service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "Only the first 75 tokens were read; this was cut: “a\x1b[31m dog”."
    service.warnings = [pb.GenerationWarning(field="prompt", description=text, reason="PROMPT_CUT")]
    assert main(["generate", "a cat", "--json", "-o", "cat.png"]) == 0
    out, err = capsys.readouterr()
    assert "client.py: warning: Only the first 75 tokens were read" in err
    assert "\x1b[31m" not in err
    (warning,) = json.loads(out)["info"]["warnings"]
    said = {"field": "prompt", "description": text, "reason": "PROMPT_CUT"}
    assert warning == said | {"excerpt": "", "alternatives": []}
