"""Parameters: documented defaults, and all violations reported."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.draft import Draft
from backend.errors import MAX_VIOLATIONS, InvalidParams
from backend.param_checks import MAX_LORAS
from backend.params import MAX_SEED, Adapter, GenerationParams, Limits, Lora
from backend.prompt_syntax import PromptSyntax
from tests.support.fakes import INFO, fake_draft, fake_params

LIMITS = Limits(max_pixels=512 * 512)


def told(**changes: Any) -> list[tuple[str, str]]:
    """Field and reason of every violation of otherwise good parameters."""
    params = fake_params(**changes)
    return [(found.field, found.reason) for found in params.violations(LIMITS, INFO)]


def resolve(**changes: Any) -> GenerationParams:
    draft = Draft(request_id="r", is_named=True, prompt="a cat", **changes)
    return draft.resolve(INFO, "someone")


class TestResolve:
    def test_the_documented_defaults(self) -> None:
        params = resolve()
        assert (params.height, params.width) == (INFO.native_height, INFO.native_width)
        assert params.guidance_scale == 7.5
        assert params.num_inference_steps == 50
        assert params.num_images == 1
        assert params.negative_prompt == ""
        assert params.scheduler == INFO.default_scheduler
        assert params.model == INFO.name
        assert params.preview_interval == 0

    def test_stable_diffusion_1_4_has_512_by_512(self) -> None:
        sd14 = replace(INFO, native_height=512, native_width=512)
        params = Draft(request_id="r", is_named=False, prompt="x").resolve(sd14, "someone")
        assert (params.height, params.width) == (512, 512)

    @pytest.mark.parametrize(
        "field", ["height", "width", "guidance_scale", "num_inference_steps", "num_images", "seed"]
    )
    def test_zero_means_zero(self, field: str) -> None:
        assert getattr(resolve(**{field: 0}), field) == 0

    def test_height_and_width_are_not_mixed_up(self) -> None:
        params = resolve(height=64, width=128)
        assert (params.height, params.width) == (64, 128)

    def test_lora_tags_are_taken_out_of_a_prompt_of_that_syntax(self) -> None:
        def of(syntax: PromptSyntax) -> GenerationParams:
            draft = fake_draft("<lora:ink:0.5>a cat", loras=(Lora("oil"),), prompt_syntax=syntax)
            return draft.resolve(INFO, "someone")

        params = of(PromptSyntax.A1111)
        assert (params.prompt, params.loras) == ("a cat", (Lora("oil"), Lora("ink", 0.5)))
        assert of(PromptSyntax.PLAIN).prompt == "<lora:ink:0.5>a cat"
        assert of(PromptSyntax.PLAIN).loras == (Lora("oil"),)

    def test_texts_are_trimmed(self) -> None:
        params = resolve(negative_prompt="\n no dogs ")
        assert params.negative_prompt == "no dogs"
        assert Draft(request_id="r", is_named=True, prompt="\t a b \n").resolve(
            INFO, "me"
        ).prompt == ("a b")

    @pytest.mark.parametrize("seed", [0, 1, 2**32, MAX_SEED])
    def test_a_given_seed_is_used(self, seed: int) -> None:
        assert resolve(seed=seed).seed == seed

    @pytest.mark.parametrize("seed", [None, -1])
    def test_no_seed_or_minus_one_draws_one_below_2_to_32(self, seed: int | None) -> None:
        drawn = {
            Draft(request_id=f"r{n}", is_named=False, prompt="x", seed=seed)
            .resolve(INFO, "someone")
            .seed
            for n in range(100)
        }
        assert len(drawn) == 100
        assert all(0 <= one < 2**32 for one in drawn)

    def test_the_same_id_of_the_same_client_draws_the_same(self) -> None:
        assert resolve().seed == resolve().seed
        draft = Draft(request_id="r", is_named=True, prompt="a cat")
        assert draft.resolve(INFO, "me").seed != draft.resolve(INFO, "you").seed

    @pytest.mark.parametrize(("scale", "guided"), [(0.0, False), (1.0, False), (1.01, True)])
    def test_guidance_begins_above_one(self, scale: float, guided: bool) -> None:
        assert fake_params(guidance_scale=scale).do_classifier_free_guidance is guided


class TestViolations:
    def test_good_parameters_have_none(self) -> None:
        assert told() == []

    @pytest.mark.parametrize("prompt", ["", " ", "\n\t"])
    def test_an_empty_prompt(self, prompt: str) -> None:
        assert told(prompt=prompt) == [("prompt", "REQUIRED")]

    @pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
    def test_texts_that_are_too_long(self, field: str) -> None:
        assert told(**{field: "x" * 2000}) == []
        assert told(**{field: "x" * 2001}) == [(field, "TOO_LONG")]

    def test_characters_are_counted_not_bytes(self) -> None:
        assert told(prompt="🦊" * 2000) == []

    @pytest.mark.parametrize("scale", [math.nan, math.inf, -math.inf, -0.1, 50.1])
    def test_guidance(self, scale: float) -> None:
        assert told(guidance_scale=scale) == [("guidance_scale", "OUT_OF_RANGE")]

    @pytest.mark.parametrize("scale", [0.0, 1.0, 50.0])
    def test_guidance_at_its_ends(self, scale: float) -> None:
        assert told(guidance_scale=scale) == []

    @pytest.mark.parametrize("steps", [0, -1, 151, -(2**31), 2**31 - 1])
    def test_steps(self, steps: int) -> None:
        assert told(num_inference_steps=steps) == [("num_inference_steps", "OUT_OF_RANGE")]

    @pytest.mark.parametrize("field", ["height", "width"])
    @pytest.mark.parametrize("size", [0, -8, 56, 2056, -(2**31), 2**31 - 1])
    def test_sizes_out_of_range(self, field: str, size: int) -> None:
        assert told(**{field: size}) == [(field, "OUT_OF_RANGE")]

    @pytest.mark.parametrize("field", ["height", "width"])
    def test_sizes_between_two_multiples_get_both_proposed(self, field: str) -> None:
        size: dict[str, Any] = {field: 100}
        params = fake_params(**size)
        (found,) = params.violations(LIMITS, INFO)
        assert (found.field, found.reason) == (field, "NOT_A_MULTIPLE")
        assert "96 or 104" in found.description

    def test_too_many_pixels(self) -> None:
        assert told(height=1024, width=256) == []
        assert told(height=1024, width=264) == [("height", "TOO_MANY_PIXELS")]

    @pytest.mark.parametrize("number", [0, -1, 11])
    def test_number_of_images(self, number: int) -> None:
        assert told(num_images=number) == [("num_images", "OUT_OF_RANGE")]

    @pytest.mark.parametrize("seed", [-2, MAX_SEED + 1, -(2**63)])
    def test_seeds(self, seed: int) -> None:
        assert told(seed=seed) == [("seed", "OUT_OF_RANGE")]

    def test_the_last_images_seed_counts_too(self) -> None:
        assert told(seed=MAX_SEED - 1, num_images=2) == []
        assert told(seed=MAX_SEED, num_images=2) == [("seed", "OUT_OF_RANGE")]

    def test_preview_interval(self) -> None:
        assert told(preview_interval=-1) == [("preview_interval", "OUT_OF_RANGE")]

    def test_an_unknown_scheduler_is_told_the_known_ones(self) -> None:
        (found,) = fake_params(scheduler="magic").violations(LIMITS, INFO)
        assert (found.field, found.reason) == ("scheduler", "UNKNOWN")
        assert "ddim, pndm" in found.description
        assert "magic" not in found.description

    def test_loras(self) -> None:
        loras = (Lora("ink"), Lora("oil", 3.0), Lora("ink", math.nan))
        assert told(loras=loras) == [
            ("loras[0].name", "UNKNOWN"),
            ("loras[1].name", "UNKNOWN"),
            ("loras[1].scale", "OUT_OF_RANGE"),
            ("loras[2].name", "UNKNOWN"),
            ("loras[2].scale", "OUT_OF_RANGE"),
        ]
        with_ink = replace(INFO, adapters=(Adapter("ink"),))
        assert fake_params(loras=(Lora("ink", -2.0),)).violations(LIMITS, with_ink) == []

    def test_clip_skip_is_within_the_text_encoder(self) -> None:
        deep = replace(INFO, num_text_layers=12)
        assert fake_params(clip_skip=12).violations(LIMITS, deep) == []
        for layer in (0, 13):
            (violation,) = fake_params(clip_skip=layer).violations(LIMITS, deep)
            assert violation.field == "clip_skip"
            assert "1 to 12" in violation.description

    def test_brackets_in_brackets_have_an_end(self) -> None:
        for changes in ({"prompt": "(" * 30 + "x"}, {"prompt": "(x:-11)"}):
            assert told(prompt_syntax=PromptSyntax.A1111, **changes) == [("prompt", "OUT_OF_RANGE")]
        assert told(prompt_syntax=PromptSyntax.A1111, negative_prompt="(x:99)") == [
            ("negative_prompt", "OUT_OF_RANGE")
        ]
        assert told(prompt="(x:99)") == []

    def test_more_loras_than_may_be_are_one_violation(self) -> None:
        assert told(loras=(Lora("x", 3.0),) * (MAX_LORAS + 1)) == [("loras", "TOO_MANY")]

    def test_an_error_tells_a_bounded_number_of_them(self) -> None:
        found = fake_params(loras=(Lora("x", 3.0),) * MAX_LORAS).violations(LIMITS, INFO)
        assert len(found) == 2 * MAX_LORAS
        assert len(InvalidParams(tuple(found)).violations) == MAX_VIOLATIONS

    def test_all_of_them_at_once(self) -> None:
        assert [field for field, _ in told(
            prompt="", negative_prompt="x" * 2001, height=7, width=100, guidance_scale=math.nan,
            num_inference_steps=0, num_images=0, seed=-2, preview_interval=-1, scheduler="magic",
        )] == [
            "prompt", "negative_prompt", "height", "width", "guidance_scale",
            "num_inference_steps", "num_images", "seed", "preview_interval", "scheduler",
        ]  # fmt: skip

    def test_no_text_is_repeated(self) -> None:
        secret = "hunter2 " * 10_000
        found = fake_params(prompt=secret, negative_prompt=secret, scheduler=secret).violations(
            LIMITS, INFO
        )
        assert len(found) == 3
        assert all("hunter2" not in one.description for one in found)
        assert sum(len(one.description) for one in found) < 500


class TestDraft:
    @pytest.mark.parametrize("name", ["a", "A-z_0", "x" * 64])
    def test_good_request_ids(self, name: str) -> None:
        draft = fake_draft(request_id=name)
        assert draft.violations(draft.resolve(INFO, "me")) == []

    @pytest.mark.parametrize("name", ["x" * 65, "a b", "a/b", "ä", "a\n", "🦊"])
    def test_bad_request_ids(self, name: str) -> None:
        draft = fake_draft(request_id=name)
        (found,) = draft.violations(draft.resolve(INFO, "me"))
        assert (found.field, found.reason) == ("request_id", "MALFORMED")

    def test_an_answer_that_cannot_fit_is_refused_beforehand(self) -> None:
        draft = fake_draft(num_images=4, height=512, width=512, max_answer_bytes=4 * 2**20)
        assert draft.violations(draft.resolve(INFO, "me")) == []
        draft = replace(draft, num_images=6)
        (found,) = draft.violations(draft.resolve(INFO, "me"))
        assert (found.field, found.reason) == ("num_images", "ANSWER_TOO_LARGE")
        assert "StreamGenerateImage" in found.description

    def test_on_a_stream_nothing_is_too_large(self) -> None:
        draft = fake_draft(num_images=8, height=1024, width=1024)
        assert draft.violations(draft.resolve(INFO, "me")) == []


numbers = st.one_of(st.integers(-(2**31), 2**31 - 1), st.integers(-8, 600))


@given(
    prompt=st.text(max_size=50),
    negative_prompt=st.text(max_size=50),
    height=numbers,
    width=numbers,
    guidance_scale=st.floats(width=32),
    num_inference_steps=numbers,
    seed=st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3)),
    num_images=numbers,
    scheduler=st.sampled_from(["ddim", "pndm", "", "magic"]),
    preview_interval=numbers,
)
def test_whatever_comes_is_either_within_the_limits_or_told(**fields: Any) -> None:
    params = fake_params(**fields)
    found = {one.field for one in params.violations(LIMITS, INFO)}
    is_good = (
        1 <= len(params.prompt.strip()) <= 2000
        and all(64 <= size <= 2048 and size % 8 == 0 for size in (params.height, params.width))
        and params.height * params.width <= LIMITS.max_pixels
        and 0 <= params.guidance_scale <= 50
        and 1 <= params.num_inference_steps <= 150
        and 1 <= params.num_images <= 8
        and params.seed >= 0
        and params.seed + params.num_images - 1 <= MAX_SEED
        and params.scheduler in INFO.schedulers
        and params.preview_interval >= 0
    )
    assert bool(found) is not is_good
