"""Prompts to embeddings: diffusers' own for plain ones, compel's chunks and weights for others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from compel.embeddings_provider import EmbeddingsProvider, SplitLongTextMode
from diffusers import StableDiffusionPipeline
from transformers import CLIPTextModel

from backend.model.pipeline import LatentDiffusion
from backend.model.prompts.chunks import Chunker
from backend.model.prompts.encoder import PromptEncoder, Reading, weigh
from backend.prompt_syntax import PromptSyntax, parse
from tests.support.tiny_sd import finish, load_tiny, tiny_params

A1111 = Reading(PromptSyntax.A1111)
TOKENS, WINDOW = 16, 14  # of the tiny model
LONG = "the red cat " * 9


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> LatentDiffusion:
    return load_tiny(tiny_model)


@pytest.fixture(scope="module")
def pipeline(tiny_model: Path) -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(tiny_model, local_files_only=True)


@pytest.fixture
def encoder(model: LatentDiffusion) -> PromptEncoder:
    return PromptEncoder.plain(model.components.tokenizer, model.runtime)


@pytest.fixture
def chunker(model: LatentDiffusion) -> Chunker:
    return Chunker(model.components.tokenizer)


@pytest.fixture
def compel(pipeline: StableDiffusionPipeline) -> EmbeddingsProvider:
    return EmbeddingsProvider(
        pipeline.tokenizer,
        pipeline.text_encoder,
        truncate=False,
        split_long_text_mode=SplitLongTextMode.BRUTAL,
    )


def ids(chunker: Chunker, prompt: str) -> list[list[int]]:
    chunks = chunker.split(prompt, PromptSyntax.A1111).chunks
    return [[token.id for token in chunk] for chunk in chunks]


@pytest.mark.parametrize("text", ["", "the red cat", LONG, "(red:1.3) [cat]"])
def test_a_plain_prompt_is_diffusers_own(
    encoder: PromptEncoder, pipeline: StableDiffusionPipeline, text: str
) -> None:
    expected, _ = pipeline.encode_prompt(text, torch.device("cpu"), 1, False)
    assert torch.equal(encoder.encode(text), expected)


@pytest.mark.parametrize("syntax", PromptSyntax)
def test_words_that_the_model_skips_are_not_there(
    model: LatentDiffusion, chunker: Chunker, syntax: PromptSyntax
) -> None:
    def read(text: str) -> str:
        return text.replace("barking", " " * 7)

    skipping = Chunker(model.components.tokenizer, read=read)
    found, expected = (
        one.split(prompt, syntax)
        for one, prompt in ((skipping, "a barking red cat"), (chunker, "a red cat"))
    )
    assert found == expected
    assert skipping.split("barking " * 99 + "cat", syntax) == chunker.split("cat", syntax)
    unread = skipping.split("cat " * 99 + "barking dog", PromptSyntax.PLAIN).unread
    assert unread.endswith("cat barking dog"), "what is said is what was written"


def test_a_short_prompt_without_weights_is_the_plain_one(encoder: PromptEncoder) -> None:
    assert torch.equal(encoder.encode("a red cat", A1111), encoder.encode("a red cat"))


def test_an_earlier_layer_is_diffusers_own(
    encoder: PromptEncoder, pipeline: StableDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    # diffusers 0.42 looks for the name that it had in transformers 4.
    monkeypatch.setattr(CLIPTextModel, "text_model", property(lambda self: self), raising=False)
    expected, _ = pipeline.encode_prompt("the red cat", torch.device("cpu"), 1, False, clip_skip=1)
    found = encoder.encode("the red cat", Reading(clip_skip=2))
    assert torch.equal(found, expected)
    assert not torch.equal(found, encoder.encode("the red cat"))


def test_a_long_prompt_is_compels(encoder: PromptEncoder, compel: EmbeddingsProvider) -> None:
    expected = compel.get_embeddings_for_weighted_prompt_fragments([[LONG]], [[1.0]])
    found = encoder.encode(LONG, A1111)
    assert found.shape[1] == 2 * TOKENS
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_tokens_and_weights_are_compels(chunker: Chunker, compel: EmbeddingsProvider) -> None:
    prompt = "the (red:1.3) cat [the] ((red)) tree " * 2
    (part,) = parse(prompt, PromptSyntax.A1111)
    expected_ids, expected_weights, _ = compel.get_token_ids_and_expand_weights(
        [fragment.text for fragment in part], [fragment.weight for fragment in part], "cpu"
    )
    chunks = chunker.split(prompt, PromptSyntax.A1111).chunks
    assert len(chunks) > 1
    found_ids = torch.cat([chunker.tensors(chunk)[0][0] for chunk in chunks])
    found_weights = torch.tensor([w for chunk in chunks for w in chunker.weights(chunk)])
    assert torch.equal(found_ids, expected_ids.long())
    torch.testing.assert_close(found_weights, expected_weights)


def test_weights_scale_tokens_and_keep_the_mean() -> None:
    embeds = torch.rand(1, 4, 8) + 1
    weights = [1.0, 2.0, 0.5, 1.0]
    scaled = embeds * torch.tensor(weights)[:, None]
    torch.testing.assert_close(weigh(embeds, weights), scaled * embeds.mean() / scaled.mean())


def test_a_mean_near_zero_blows_nothing_up() -> None:
    embeds = torch.randn(1, 4, 8)
    embeds -= embeds.mean()
    weights = [1.0, 3.0, 1.0, 1.0]
    assert weigh(embeds, weights).abs().max() <= 3 * embeds.abs().max()
    assert weigh(embeds, [0.0] * 4).isfinite().all()


def test_break_begins_a_chunk(chunker: Chunker) -> None:
    (cat,), (dog,) = ids(chunker, "cat"), ids(chunker, "red")
    assert ids(chunker, "cat BREAK red") == [cat, dog]
    assert ids(chunker, "cat BREAK") == [cat]
    assert ids(chunker, "cat BREAK BREAK red") == [cat, [], dog]


def test_a_clause_is_not_torn(chunker: Chunker) -> None:
    """A chunk that is full gives what follows its last comma to the next one."""
    first, second = ids(chunker, "red " * 10 + ", the cat red red the cat")
    assert len(first) == 11
    assert first[-1] == ids(chunker, ",")[0][0]
    assert second == ids(chunker, "the cat red red the cat")[0]


def test_too_long_a_prompt_is_cut_and_told(model: LatentDiffusion) -> None:
    long = tiny_params(prompt="red " * WINDOW * 8 + "the cat", prompt_syntax=PromptSyntax.A1111)
    (warning,) = model.warnings(long)
    assert warning.reason == "PROMPT_CUT"
    assert "“the cat”" in warning.description
    assert model.num_chunks(long) == 8
    breaks = tiny_params(prompt="red BREAK " * 100, prompt_syntax=PromptSyntax.A1111)
    assert model.num_chunks(breaks) == 8
    assert model.warnings(breaks)[0].reason == "PROMPT_CUT"


def test_what_is_remembered_is_bounded(model: LatentDiffusion) -> None:
    one = tiny_params(prompt=LONG, prompt_syntax=PromptSyntax.A1111)
    small = PromptEncoder(Chunker(model.components.tokenizer), model.runtime, kept_bytes=5000)
    expected = small.encode(LONG, A1111)
    for number in range(9):
        small.encode(str(number))
    assert len(small._embeds) <= 2
    assert torch.equal(small.encode(LONG, A1111), expected)
    assert model.prepare(one, 0).prompt_embeds.shape == (2, 2 * TOKENS, 32)


def test_prompts_of_different_lengths_in_one_batch_of_eight_rows(tiny_model: Path) -> None:
    """Of one length, since rows of others have their own steps: each as it is alone."""
    model = load_tiny(tiny_model, dtype="bfloat16")
    weighted: dict[str, Any] = {"prompt_syntax": PromptSyntax.A1111}
    company = [
        tiny_params(prompt=LONG, seed=1, **weighted),
        tiny_params(prompt="(red:1.4) cat BREAK tree", seed=2, scheduler="euler", **weighted),
        tiny_params(prompt="cat", negative_prompt=LONG, seed=3, **weighted),
        tiny_params(prompt=LONG, negative_prompt="[red] BREAK the", clip_skip=2, **weighted),
    ]
    assert {model.num_chunks(params) for params in company} == {2}
    alone = [model.prepare(params, 0) for params in company]
    for trajectory in alone:
        finish(model, trajectory)
    together = [model.prepare(params, 0) for params in company]
    assert sum(trajectory.num_rows for trajectory in together) == 8
    while together[0].step_index < together[0].num_evaluations:
        assert model.denoise_step(together) == [None] * 4
    for own, shared in zip(alone, together, strict=True):
        assert torch.equal(own.latents, shared.latents)
