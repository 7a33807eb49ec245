"""Converting between protobuf and domain loses and invents nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from backend.domain import (
    Counters,
    Done,
    Exactness,
    FinishedImage,
    GeneratedImage,
    GenerationWarning,
    Gpu,
    Histogram,
    Latency,
    Progress,
    Queued,
    ReplicaStatus,
    Resources,
    ServiceStatus,
    State,
    Timings,
)
from backend.draft import Draft
from backend.params import Adapter, Figure, ImageFormat, Limits, Lora
from backend.source_picture import SourcePicture
from backend.transport.rpc.convert import (
    draft_from_pb,
    event_to_pb,
    info_to_pb,
    params_to_pb,
)
from backend.transport.rpc.convert_status import status_to_pb
from proto import text2image_pb2 as pb
from tests.support.fakes import INFO, fake_params

OPTIONAL = [
    "height", "width", "guidance_scale", "num_inference_steps", "seed", "num_images",
    "preview_interval", "strength", "upscale", "upscale_strength",
]  # fmt: skip
PICTURE = GeneratedImage(b"png", "image/png", 64, 72, 7)
TIMINGS = Timings(1.0, 2.0, 3.0, 4.0, 11.0)


def draft(**fields: Any) -> Draft:
    return draft_from_pb(pb.GenerateImageRequest(prompt="a cat", **fields), "made-up")


class TestDraft:
    @pytest.mark.parametrize("field", OPTIONAL)
    def test_unset_is_none_and_zero_is_zero(self, field: str) -> None:
        assert getattr(draft(), field) is None
        assert getattr(draft(**{field: 0}), field) == 0

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("height", 512), ("width", 640), ("guidance_scale", 8.5),
            ("num_inference_steps", 30), ("negative_prompt", "blurry"), ("seed", 2**53 - 1),
            ("seed", -1), ("num_images", 4), ("scheduler", "heun"), ("model", "sd"),
            ("preview_interval", 5), ("init_image", b"png"), ("mask", b"webp"), ("strength", 0.5),
            ("upscale", 2.0), ("upscale_strength", 0.25),
        ],
    )  # fmt: skip
    def test_every_field_arrives(self, field: str, value: Any) -> None:
        assert getattr(draft(**{field: value}), field) == value

    def test_a_name_is_told_from_a_made_up_one(self) -> None:
        assert draft().is_named is False
        named = draft_from_pb(pb.GenerateImageRequest(request_id="mine"), "mine")
        assert (named.is_named, named.request_id) == (True, "mine")

    @pytest.mark.parametrize(
        ("number", "expected"),
        [(0, ImageFormat.PNG), (1, ImageFormat.PNG), (2, ImageFormat.JPEG), (3, ImageFormat.WEBP)],
    )
    def test_formats(self, number: int, expected: ImageFormat) -> None:
        assert draft(output_format=number).output_format is expected
        assert draft(output_format=number).early_violations == ()

    def test_an_unknown_format_is_told(self) -> None:
        (violation,) = draft(output_format=9).early_violations
        assert (violation.field, violation.reason) == ("output_format", "UNKNOWN")

    def test_a_lora_without_a_scale_has_one(self) -> None:
        loras = [pb.Lora(name="ink"), pb.Lora(name="oil", scale=0.0)]
        assert draft(loras=loras).loras == (Lora("ink", 1.0), Lora("oil", 0.0))


class TestInfo:
    def test_the_request_in_the_answer_makes_the_same_again(self) -> None:
        params = fake_params(
            "a cat",
            negative_prompt="dog",
            height=64,
            width=72,
            num_images=3,
            output_format=ImageFormat.WEBP,
            preview_interval=2,
            loras=(Lora("ink", 0.5),),
        )
        again = draft_from_pb(params_to_pb(params, "mine"), "mine").resolve(INFO, "someone")
        assert again == params

    @given(
        seed=st.integers(0, 2**53 - 1),
        guidance_scale=st.floats(0, 50, width=32),
        num_inference_steps=st.integers(1, 1000),
    )
    def test_whatever_the_numbers_are(self, **numbers: Any) -> None:
        params = fake_params(**numbers)
        again = draft_from_pb(params_to_pb(params, "mine"), "mine").resolve(INFO, "someone")
        assert again == params

    def test_no_field_of_the_answer_is_forgotten(self) -> None:
        params = fake_params(
            negative_prompt="x",
            num_images=2,
            preview_interval=1,
            loras=(Lora("ink"),),
            init_image=SourcePicture("ab" * 32, np.zeros((64, 64, 3), np.uint8)),
            mask=SourcePicture("cd" * 32, np.zeros((64, 64), np.uint8)),
            strength=0.5,
            upscale=2.0,
            upscale_strength=0.25,
            upscaled=(128, 128),
        )
        warnings = (GenerationWarning("prompt", "Cut: “b”.", "PROMPT_CUT", "b", ("a",)),)
        info = info_to_pb(Done("mine", params, INFO, Exactness.TOLERANT, TIMINGS, warnings))
        assert {field.name for field, _ in info.ListFields()} == names(info)
        told = {field.name for field, _ in info.request.ListFields()}
        assert told == names(info.request) - {"init_image", "mask"}  # their hashes stand for them
        assert (info.init_image_sha256, info.mask_sha256) == ("ab" * 32, "cd" * 32)
        assert {field.name for field, _ in info.timings.ListFields()} == names(info.timings)
        assert info.exactness == pb.EXACTNESS_TOLERANT
        assert info.model_revision == INFO.revision
        assert {field.name for field, _ in info.warnings[0].ListFields()} == names(info.warnings[0])


class TestEvents:
    def test_queued(self) -> None:
        event = event_to_pb(Queued(3, 1234.6, "Loading ink"), "mine")
        assert event.request_id == "mine"
        assert (event.queued.position, event.queued.estimated_wait_ms) == (3, 1235)
        assert event.queued.message == "Loading ink"

    def test_progress_without_a_preview(self) -> None:
        event = event_to_pb(Progress(2, 9, 99.4), "mine")
        assert (event.progress.step, event.progress.num_steps, event.progress.eta_ms) == (2, 9, 99)
        assert not event.progress.HasField("preview")

    def test_progress_with_one(self) -> None:
        event = event_to_pb(Progress(2, 9, 0.0, PICTURE), "mine")
        assert event.progress.preview.data == b"png"

    def test_a_picture(self) -> None:
        event = event_to_pb(FinishedImage(1, PICTURE), "mine")
        image = event.image.image
        assert event.image.index == 1
        assert (image.data, image.mime_type, image.seed) == (b"png", "image/png", 7)
        assert (image.width, image.height, image.nsfw_detected) == (64, 72, False)

    def test_the_end(self) -> None:
        done = Done("mine", fake_params(), INFO, Exactness.CERTIFIED, TIMINGS)
        assert event_to_pb(done, "mine").done == info_to_pb(done)


class TestStatus:
    def test_every_field_arrives(self) -> None:
        full = ServiceStatus(
            state=State.READY,
            message="Serving.",
            version="1.0",
            uptime_s=5.5,
            models=(
                replace(
                    INFO,
                    message="Serving.",
                    license="mit",
                    figures=(Figure("cats drawn", "9 of 10"),),
                    adapters=(Adapter("ink", ("drawing",)),),
                    embeddings=("style",),
                    default_loras=(Lora("ink", 0.5),),
                ),
            ),
            queued=1,
            running=2,
            capacity=3,
            limits=Limits(),
            counters=Counters(6, 1, 1, 1, 1, 9),
            latency=Latency(1.0, 2.0, 3.0, 4.0),
            resources=Resources(5.0, 6, 7, 8, (Gpu("H200", 10, 5, 50.0, 60.0),)),
            histograms=(Histogram("step_seconds", (0.5, 1.0), (1, 2, 3), 6.5),),
            last_hour=(Histogram("step_seconds", (0.5, 1.0), (0, 1, 0), 0.75),),
            replicas=(ReplicaStatus("r1", State.STUCK, "A step hangs.", "gpu7", "cuda", 2, 99),),
        )
        told = status_to_pb(full, include_abilities=True)
        assert not status_to_pb(full).models[0].figures
        unset = names(told) - {field.name for field, _ in told.ListFields()}
        assert unset == set()
        for part in (told.queue, told.counters, told.latency, told.resources, told.limits):
            assert {field.name for field, _ in part.ListFields()} == names(part)
        (model,) = told.models
        assert [(f.name, f.value) for f in model.figures] == [("cats drawn", "9 of 10")]
        assert {field.name for field, _ in model.ListFields()} == names(model) - {"abilities"}
        (replica,) = told.replicas
        assert {field.name for field, _ in replica.ListFields()} == names(replica)
        assert replica.state == State.STUCK.value
        assert (replica.host, replica.device, replica.running) == ("gpu7", "cuda", 2)
        (gpu,) = told.resources.gpus
        assert {field.name for field, _ in gpu.ListFields()} == names(gpu)
        assert list(told.schedulers) == list(INFO.schedulers)
        since_start, last_hour = told.histograms[0], told.last_hour[0]
        assert list(since_start.counts) == [1, 2, 3]
        assert list(last_hour.bounds) == [0.5, 1.0]
        assert last_hour.sum == 0.75

    @pytest.mark.parametrize("state", list(State))
    def test_states_have_the_same_names_and_numbers(self, state: State) -> None:
        empty = ServiceStatus(state, "", "1.0", 0.0, (), 0, 0, 1, Limits())
        told = status_to_pb(empty)
        assert told.state == state.value
        assert not told.models
        assert not told.schedulers


def names(message: Any) -> set[str]:
    fields: list[FieldDescriptor] = message.DESCRIPTOR.fields
    return {field.name for field in fields}
