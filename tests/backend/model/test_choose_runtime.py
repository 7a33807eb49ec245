"""The runtimes against torch itself, on a tiny model; and who gets picked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from backend.config import Settings
from backend.errors import ModelFailed
from backend.model import choose_runtime as runtimes
from backend.model.checkpoint.components import Components, Reading
from backend.model.checkpoint.folder import read_folder
from backend.model.choose_runtime import Wanted, choose_runtime, openvino_folder
from backend.model.measure import fidelity
from backend.model.measure.fidelity import Exam, draw, median_psnr, race, set_exam
from backend.model.openvino import convert as openvino_ir
from backend.model.openvino import trial as openvino_trial
from backend.model.openvino.convert import precisions
from backend.model.openvino.runtime import OpenVinoRuntime, bucket, num_parts
from backend.model.openvino.trial import compile_network
from backend.model.pick import PickStore
from backend.model.runtime.compiled import CompiledRuntime, shape_of
from backend.model.runtime.eager import TorchRuntime

ROOT = Path(__file__).parent.parent.parent.parent
REVISION = "r1"


@pytest.fixture(scope="module")
def folder(tiny_model: Path) -> Path:
    return tiny_model


@pytest.fixture
def components(folder: Path) -> Components:
    return read_folder(folder, Reading(torch.device("cpu"), torch.float32, False))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Converted networks, for all tests of this module."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def cache(data_dir: Path) -> Path:
    return openvino_folder(data_dir, REVISION)


def openvino(components: Components, cache: Path, precision: str = "f32") -> OpenVinoRuntime:
    return OpenVinoRuntime(components, cache, precision=precision, num_threads=2)


def inputs(
    components: Components, rows: int, height: int = 8, width: int = 8
) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    channels, hidden = components.architecture.latent_channels, components.architecture.hidden_size
    return [
        torch.randn(rows, channels, height, width, generator=generator),
        torch.linspace(900.0, 10.0, rows),
        torch.randn(rows, components.num_tokens, hidden, generator=generator),
    ]


class TestOpenVino:
    @pytest.mark.parametrize(
        ("rows", "height", "width"), [(1, 8, 8), (2, 8, 8), (3, 8, 6), (2, 9, 7)]
    )
    def test_predicts_what_torch_predicts(
        self, components: Components, cache: Path, rows: int, height: int, width: int
    ) -> None:
        given = inputs(components, rows, height, width)
        ours = openvino(components, cache).denoise(*given)
        theirs = TorchRuntime(components).denoise(*given)
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)

    def test_encodes_and_decodes_as_torch_does(self, components: Components, cache: Path) -> None:
        ours, theirs = openvino(components, cache), TorchRuntime(components)
        tokens = torch.arange(components.num_tokens)[None]
        latents = inputs(components, 1, 9, 7)[0]
        torch.testing.assert_close(ours.encode(tokens), theirs.encode(tokens), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(
            ours.decode(latents), theirs.decode(latents), rtol=1e-3, atol=1e-4
        )

    def test_filling_up_changes_no_bit(self, components: Components, cache: Path) -> None:
        runtime = openvino(components, cache)
        latents, timesteps, embeds = inputs(components, 4)
        three = runtime.denoise(latents[:3], timesteps[:3], embeds[:3])
        assert torch.equal(three, runtime.denoise(latents, timesteps, embeds)[:3])

    @pytest.mark.parametrize(("rows", "filled"), [(1, 1), (2, 2), (3, 4), (5, 8), (16, 16)])
    def test_buckets_are_powers_of_two(self, rows: int, filled: int) -> None:
        assert bucket(rows) == filled

    def test_the_second_start_converts_nothing(
        self, components: Components, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = inputs(components, 2)
        first = openvino(components, cache).denoise(*given)

        def fail(*_: object) -> None:
            raise AssertionError("converted again")

        monkeypatch.setattr("backend.model.openvino.convert._convert", fail)
        monkeypatch.setattr("backend.model.openvino.trial._first_that_works", fail)
        assert torch.equal(openvino(components, cache).denoise(*given), first)

    def test_what_another_version_converted_of_the_model_leaves_the_disk(
        self, components: Components, tmp_path: Path
    ) -> None:
        ours = openvino_folder(tmp_path, REVISION)
        older = ours.with_name(f"{REVISION}-2025.1.0-1")
        others = ours.with_name(ours.name.replace(REVISION, "another"))
        for folder in (older, others):
            folder.mkdir(parents=True)
            (folder / "unet.bin").write_bytes(bytes(1000))
        converter = openvino_ir.Converter(components, ours)
        converter.text_encoder()
        assert sorted(ours.parent.iterdir()) == sorted([ours, others])
        older.mkdir()  # another version runs beside this one
        converter.text_encoder()
        assert older.is_dir()

    def test_what_holds_for_a_whole_channel_stays_in_float32(
        self, components: Components, tmp_path: Path
    ) -> None:
        path = openvino_ir.Converter(components, tmp_path).unet(8, 8)
        layers = openvino_ir.import_openvino().Core().read_model(path).get_ops()
        precise = {
            layer.get_type_name()
            for layer in layers
            if "DisablePrecisionConversion_0" in layer.get_rt_info()
        }
        assert {"Sin", "Cos", "Sqrt", "Gather"} <= precise
        assert "Convolution" not in precise
        assert "GroupNormalization" not in {layer.get_type_name() for layer in layers}

    @pytest.mark.skipif("bf16" not in precisions(), reason="this CPU has no bfloat16")
    def test_bfloat16_leaves_it_so(self, components: Components, tmp_path: Path) -> None:
        path = openvino_ir.Converter(components, tmp_path).unet(8, 8)
        core = openvino_ir.import_openvino().Core()
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
        self, rows: int, num_threads: int, parts: int
    ) -> None:
        assert num_parts(rows, num_threads) == parts

    @pytest.mark.parametrize("num_threads", [1, 2, 4])
    def test_parts_are_put_together_in_their_order(
        self, components: Components, cache: Path, num_threads: int
    ) -> None:
        runtime = OpenVinoRuntime(components, cache, precision="f32", num_threads=num_threads)
        given = inputs(components, 5)
        together = runtime.denoise(*given)
        for row in range(5):
            alone = runtime.denoise(*[part[row : row + 1] for part in given])
            torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-3, atol=1e-4)

    def test_says_what_it_is(self, components: Components, cache: Path) -> None:
        assert openvino(components, cache).description.endswith("float32, 2 threads")

    def test_a_converted_network_gives_its_weights_back_whoever_holds_it(
        self, components: Components, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held: list[torch.nn.Module] = []

        def translate(network: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> object:
            held.append(network)
            return translate_really(network, inputs)

        translate_really = openvino_ir._translate
        monkeypatch.setattr(openvino_ir, "_translate", translate)
        openvino_ir.Converter(components, tmp_path).unet(8, 8)
        assert [each.numel() for each in held[0].parameters() if each.numel()] == []
        assert all(each.numel() for each in components.networks.unet.parameters())


class TestTrial:
    """A compiler that crashes takes a child process with it, not the service."""

    SHAPES: Sequence[Sequence[int]] = [[1, 2]]

    def test_what_crashes_is_tried_without_fusing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "net.xml").touch()
        crash_unless_disabled = (
            "import os, sys; 'DISABLE' in sys.argv[-1] or os.kill(os.getpid(), 11)"
        )
        monkeypatch.setattr(
            openvino_trial, "COMMAND", [sys.executable, "-c", crash_unless_disabled]
        )
        trials = openvino_trial.Trials(tmp_path)
        found = trials.settings(tmp_path / "net.xml", self.SHAPES, {"THREADS": 2})
        assert found == {"THREADS": 2, "SNIPPETS_MODE": "DISABLE"}

    def test_what_always_crashes_is_an_error_here(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        crash = "import os; os.kill(os.getpid(), 11)"
        monkeypatch.setattr(openvino_trial, "COMMAND", [sys.executable, "-c", crash])
        with pytest.raises(RuntimeError, match=r"can't compile net\.xml"):
            openvino_trial.Trials(tmp_path).settings(tmp_path / "net.xml", self.SHAPES, {})


class TestCompiled:
    def test_eager_until_compiled_and_nearly_equal_after(self, components: Components) -> None:
        eager = TorchRuntime(components)
        runtime = CompiledRuntime(eager, backend="eager")  # traced, but spared the C++ compiler
        given = inputs(components, 2)
        tokens = torch.zeros(1, components.num_tokens, dtype=torch.int64)
        for network, expected, tensors in (
            (runtime.denoise, eager.denoise(*given), given),
            (runtime.decode, eager.decode(given[0][:1]), (given[0][:1],)),
            (runtime.encode, eager.encode(tokens), (tokens,)),
        ):
            assert torch.equal(network(*tensors), expected)
            _wait_until(
                partial(lambda made, shape: shape in made.ready, network, shape_of(*tensors))
            )
            torch.testing.assert_close(network(*tensors), expected, rtol=1e-3, atol=1e-4)

    def test_what_does_not_compile_stays_eager(
        self, components: Components, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("no compiler")

        eager = TorchRuntime(components)
        runtime = CompiledRuntime(eager, backend=broken)
        given = inputs(components, 2)
        runtime.denoise(*given)
        _wait_until(lambda: "stays eager" in caplog.text)
        assert torch.equal(runtime.denoise(*given), eager.denoise(*given))

    @pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
    @pytest.mark.timeout(600)
    def test_the_real_compiler(self, components: Components) -> None:
        eager = TorchRuntime(components)
        runtime = CompiledRuntime(eager)
        latents = inputs(components, 1)[0]
        runtime.decode(latents)
        _wait_until(lambda: shape_of(latents) in runtime.decode.ready, seconds=500)
        expected = eager.decode(latents)
        torch.testing.assert_close(runtime.decode(latents), expected, rtol=1e-2, atol=1e-3)


class TestChoice:
    def wanted(self, components: Components, data_dir: Path, **settings: object) -> Wanted:
        made = Settings(data_dir=data_dir, **settings)  # type: ignore[arg-type]
        return Wanted(components, made, torch.float32, REVISION)

    def test_torch_as_set(self, components: Components, tmp_path: Path) -> None:
        choice = choose_runtime(self.wanted(components, tmp_path, runtime="torch"), print)
        assert (choice.runtime.name, choice.reason) == ("torch", "RUNTIME=torch")

    def test_torch_where_openvino_is_missing(
        self, components: Components, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "openvino", None)
        choice = choose_runtime(self.wanted(components, tmp_path, runtime="auto"), print)
        assert choice.runtime.name == "torch"
        assert "OpenVINO is not installed" in choice.reason
        with pytest.raises(ModelFailed, match="pip install openvino"):
            choose_runtime(self.wanted(components, tmp_path, runtime="openvino"), print)

    def test_auto_measures_once_and_stays_with_it(
        self, components: Components, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = self.wanted(components, data_dir, runtime="auto")
        first = choose_runtime(wanted, lambda _: None)
        assert "dB" in first.reason

        def fail(*_: object) -> None:
            raise AssertionError("measured again")

        monkeypatch.setattr(runtimes, "_examine", fail)
        again = choose_runtime(wanted, lambda _: None)
        assert (again.runtime.name, again.reason) == (first.runtime.name, first.reason)

    def test_the_unfaithful_are_not_picked_however_fast(
        self, components: Components, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(PickStore, "load", lambda _: None)
        monkeypatch.setattr(PickStore, "save", lambda *_: None)
        decibels = iter([20.0, 50.0])
        monkeypatch.setattr(runtimes, "median_psnr", lambda *_: next(decibels))
        monkeypatch.setattr(runtimes, "race", _first_is_fastest)
        choice = choose_runtime(self.wanted(components, data_dir, runtime="auto"), lambda _: None)
        assert choice.runtime.name == "torch"

    def test_bfloat16_is_faithful_where_there_is_bfloat16(
        self, components: Components, cache: Path
    ) -> None:
        exam = Exam(("a red cat",), 4, 8, 8)
        expected = draw(components, TorchRuntime(components), exam)
        for precision in precisions():
            drawn = draw(components, openvino(components, cache, precision), exam)
            assert median_psnr(drawn, expected) >= 35.0

    def test_who_is_far_behind_is_not_asked_again(self) -> None:
        runs: list[str] = []
        seconds = {"fast": 10.0, "slow": 31.0}
        race({name: partial(runs.append, name) for name in seconds}, seconds)
        assert runs == ["fast", "fast"]
        assert seconds["slow"] == 31.0
        assert seconds["fast"] < 1.0

    def test_who_takes_long_is_asked_once_more_and_in_turns(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now_s, runs = 0.0, []
        monkeypatch.setattr(fidelity, "time", SimpleNamespace(perf_counter=lambda: now_s))

        def draw_for(name: str, took_s: float) -> None:
            nonlocal now_s
            now_s += took_s
            runs.append(name)

        seconds = {"disturbed": 30.0, "other": 20.0}
        race({"disturbed": lambda: draw_for("disturbed", 12.0),
              "other": lambda: draw_for("other", 18.0)}, seconds)  # fmt: skip
        assert runs == ["disturbed", "other"]
        assert seconds == {"disturbed": 12.0, "other": 18.0}

    @pytest.mark.parametrize(("fast_step_s", "prompts"), [(60.0, 3), (0.0, 1)])
    def test_a_slow_model_is_asked_for_less(
        self,
        components: Components,
        fast_step_s: float,
        prompts: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(fidelity, "FAST_STEP_S", fast_step_s)
        assert len(set_exam(components, TorchRuntime(components)).prompts) == prompts


def _first_is_fastest(contestants: Mapping[str, object], seconds: dict[str, float]) -> None:
    seconds.update({name: float(index) for index, name in enumerate(contestants)})


def _wait_until(is_done: Callable[[], bool], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not is_done():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.05)


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


def test_nothing_reports_home(folder: Path, tmp_path: Path) -> None:
    """Without `CI`, where telemetries are on by default: conversion, loading, calibration."""
    off = ("CI", "DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE")
    environment = {key: value for key, value in os.environ.items() if key not in off}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(folder), str(tmp_path)],
        cwd=ROOT,
        env=environment | {"HOME": str(tmp_path)},  # no consent file of an earlier run
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr[-2000:]
