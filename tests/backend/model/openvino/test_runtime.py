"""OpenVINO against torch, on a tiny model."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from backend.model.checkpoint.components import Components
from backend.model.choose_runtime import openvino_folder
from backend.model.openvino import convert
from backend.model.openvino.convert import precisions
from backend.model.openvino.runtime import (
    OpenVinoRuntime,
    bucket,
    budget,
    compile_network,
    num_parts,
)
from backend.model.runtime.eager import TorchRuntime
from tests.support.networks import row_inputs as inputs
from tests.support.tiny_sd import load_tiny

ROOT = Path(__file__).parent.parent.parent.parent.parent
REVISION = "r1"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Converted networks, for all tests of this module."""
    return openvino_folder(tmp_path_factory.mktemp("data"), REVISION)


def openvino(components: Components, cache: Path, precision: str = "f32") -> OpenVinoRuntime:
    return OpenVinoRuntime(components, cache, precision=precision, num_threads=2)


def test_the_budget_is_a_share_of_memory_and_one_images_networks_at_least() -> None:
    assert budget(1_000_000, 10**10) == 4 * 10**9
    assert budget(1_000_000_000, 8 * 10**9) == 4 * 10**9


@pytest.mark.parametrize(("rows", "height", "width"), [(1, 8, 8), (2, 8, 8), (3, 8, 6), (2, 9, 7)])
def test_predicts_what_torch_predicts(
    components: Components, cache: Path, rows: int, height: int, width: int
) -> None:
    given = inputs(components, rows, height, width)
    ours = openvino(components, cache).denoise(*given)
    theirs = TorchRuntime(components).denoise(*given)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_encodes_and_decodes_as_torch_does(components: Components, cache: Path) -> None:
    ours, theirs = openvino(components, cache), TorchRuntime(components)
    tokens = torch.arange(components.num_tokens)[None]
    latents = inputs(components, 1, 9, 7)[0]
    torch.testing.assert_close(ours.encode(tokens), theirs.encode(tokens), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(ours.decode(latents), theirs.decode(latents), rtol=1e-3, atol=1e-4)


def test_filling_up_changes_no_bit(components: Components, cache: Path) -> None:
    runtime = openvino(components, cache)
    latents, timesteps, embeds = inputs(components, 4)
    three = runtime.denoise(latents[:3], timesteps[:3], embeds[:3])
    assert torch.equal(three, runtime.denoise(latents, timesteps, embeds)[:3])


@pytest.mark.parametrize(("rows", "filled"), [(1, 1), (2, 2), (3, 4), (5, 8), (16, 16)])
def test_buckets_are_powers_of_two(rows: int, filled: int) -> None:
    assert bucket(rows) == filled


def test_the_second_start_converts_nothing(
    components: Components, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = inputs(components, 2)
    first = openvino(components, cache).denoise(*given)

    def fail(*_: object) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr("backend.model.openvino.convert._convert", fail)
    assert torch.equal(openvino(components, cache).denoise(*given), first)


def test_what_another_version_converted_of_the_model_leaves_the_disk(
    components: Components, tmp_path: Path
) -> None:
    ours = openvino_folder(tmp_path, REVISION)
    older = ours.with_name(f"{REVISION}-2025.1.0-1")
    others = ours.with_name(ours.name.replace(REVISION, "another"))
    for folder in (older, others):
        folder.mkdir(parents=True)
        (folder / "unet.bin").write_bytes(bytes(1000))
    converter = convert.Converter(components, ours)
    converter.text_encoder()
    assert sorted(ours.parent.iterdir()) == sorted([ours, others])
    older.mkdir()  # another version runs beside this one
    converter.text_encoder()
    assert older.is_dir()


def test_a_folder_that_cannot_be_written_costs_time_and_no_model(
    components: Components, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data").write_text("a file, where the folder should be", encoding="utf-8")
    converter = convert.Converter(components, tmp_path / "data" / "openvino" / "x")
    path = converter.text_encoder()
    assert convert.import_openvino().Core().read_model(path).get_ops()
    changed_at = path.stat().st_mtime_ns
    assert converter.text_encoder() == path
    assert path.stat().st_mtime_ns == changed_at
    assert caplog.text.count("converted again at every start") == 1


def test_what_holds_for_a_whole_channel_stays_in_float32(
    components: Components, tmp_path: Path
) -> None:
    path = convert.Converter(components, tmp_path).unet(8, 8)
    layers = convert.import_openvino().Core().read_model(path).get_ops()
    precise = {
        layer.get_type_name()
        for layer in layers
        if "DisablePrecisionConversion_0" in layer.get_rt_info()
    }
    assert {"Sin", "Cos", "Sqrt", "Gather"} <= precise
    assert "Convolution" not in precise
    assert "GroupNormalization" not in {layer.get_type_name() for layer in layers}


@pytest.mark.skipif("bf16" not in precisions(), reason="this CPU has no bfloat16")
def test_bfloat16_leaves_it_so(components: Components, tmp_path: Path) -> None:
    path = convert.Converter(components, tmp_path).unet(8, 8)
    core = convert.import_openvino().Core()
    settings = {"INFERENCE_PRECISION_HINT": "bf16", "NUM_STREAMS": 1}
    shapes = [list(given.shape) for given in inputs(components, 2)]
    (request,) = compile_network(core, path, shapes, settings)
    layers = request.get_compiled_model().get_runtime_model().get_ops()
    found = {
        note["outputPrecisions"].astype(str)
        for note in [layer.get_rt_info() for layer in layers]
        if re.search("(group_means|affine|time_proj)/", note["originalLayersNames"].astype(str))
    }
    assert found - {"i32"} == {"f32"}


@pytest.mark.parametrize(
    ("rows", "num_threads", "parts"),
    [(1, 8, 1), (2, 2, 2), (3, 2, 2), (7, 8, 4), (32, 6, 2), (4, 3, 1)],
)
def test_as_many_parts_as_there_are_rows_and_threads_for(
    rows: int, num_threads: int, parts: int
) -> None:
    assert num_parts(rows, num_threads) == parts


@pytest.mark.parametrize("num_threads", [1, 2, 4])
def test_parts_are_put_together_in_their_order(
    components: Components, cache: Path, num_threads: int
) -> None:
    runtime = OpenVinoRuntime(components, cache, precision="f32", num_threads=num_threads)
    given = inputs(components, 5)
    together = runtime.denoise(*given)
    for row in range(5):
        alone = runtime.denoise(*[part[row : row + 1] for part in given])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-3, atol=1e-4)


def test_says_what_it_is(components: Components, cache: Path) -> None:
    assert openvino(components, cache).description.endswith("float32, 2 threads")


@pytest.mark.usefixtures("unshared_conversions")
def test_a_converted_network_gives_its_weights_back_whoever_holds_it(
    components: Components, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[torch.nn.Module] = []

    def translate(network: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> object:
        held.append(network)
        return translate_really(network, inputs)

    translate_really = convert._translate
    monkeypatch.setattr(convert, "_translate", translate)
    convert.Converter(components, tmp_path).unet(8, 8)
    assert [each.numel() for each in held[0].parameters() if each.numel()] == []
    assert all(each.numel() for each in components.networks.unet.parameters())


WATCHED = """
import ipaddress, sys
found = []
def watch(event, args):
    if event == "socket.connect":
        address = args[1]
        if isinstance(address, tuple) and not ipaddress.ip_address(address[0]).is_loopback:
            found.append(address)
            raise OSError("no way out")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        if args[0] not in (None, "localhost", "127.0.0.1", "::1"):
            found.append(args[0])
            raise OSError("no way out")
sys.addaudithook(watch)
from pathlib import Path
from backend.config import Settings
from backend.startup import loader
loaded = loader(Settings(model=sys.argv[1], data_dir=Path(sys.argv[2]), runtime="openvino"))(print)
assert loaded.model.runtime.name == "openvino"
import time
time.sleep(1)  # telemetry is sent from threads
assert "openvino_telemetry.backend" not in sys.modules
assert not found, found
"""


def test_nothing_reports_home(tiny_model: Path, tmp_path: Path) -> None:
    """Without `CI`, where telemetries are on by default: conversion, loading, calibration."""
    load_tiny(tiny_model, runtime="openvino", data_dir=tmp_path)
    (converted,) = tmp_path.glob("openvino/*/text_encoder.xml")
    converted.unlink()  # the smallest network is left to convert
    off = ("CI", "DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE")
    environment = {key: value for key, value in os.environ.items() if key not in off}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tiny_model), str(tmp_path)],
        cwd=ROOT,
        env=environment | {"HOME": str(tmp_path)},  # no consent file of an earlier run
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert converted.is_file()
