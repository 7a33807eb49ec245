"""The networks: initialisation and forward passes."""

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from training import attention, autoencoder, captions, decoder, sketches, tokenizer, unet
from training.muon import orthogonal
from training.phrases import PLACES, WORDS
from training.sprites import Sprites
from training.text_encoder import TextEncoder


def small_unet() -> UNet2DConditionModel:
    return unet.build((128, 32, 32))


def test_a_sketch_survives_as_tokens() -> None:
    latents = torch.randn(3, sketches.CHANNELS, attention.SIDE, attention.SIDE)
    tokens = sketches.to_tokens(latents)
    assert tokens.shape == (3, WORDS + PLACES, sketches.WIDTH)
    assert torch.equal(sketches.to_latents(tokens), latents)
    assert (tokens[:, :WORDS, : sketches.NUMBERS] == 0).all()


def test_attention_that_knows_its_place_hands_every_place_its_own_latents() -> None:
    """With queries as they should become, keys and values are right from the start."""
    model = small_unet()
    model.encoder_hid_proj = nn.Identity()
    layer = attention.cross_attentions(model)[0]
    watched = attention.watch(model)[0]
    latents = torch.randn(1, sketches.CHANNELS, attention.SIDE, attention.SIDE)
    size = layer.to_v.out_features // attention.HEADS
    wanted = attention.aims()[..., WORDS:].argmax(dim=-1)
    found = attention.aims()[..., WORDS:].any(dim=-1)
    codes = torch.where(found, wanted, PLACES)
    queries = torch.nn.functional.one_hot(codes, size).float() * 50
    layer.to_q = _Always(queries.transpose(0, 1).flatten(1)[None])
    layer.to_out[0] = nn.Identity()
    out = watched(layer, torch.zeros(1, 64, 128), sketches.to_tokens(latents))
    heads = out.unflatten(2, (attention.HEADS, size)).sum(dim=2)[..., : sketches.CHANNELS]
    assert torch.allclose(heads.mT.unflatten(2, (8, 8)), latents, atol=1e-3)
    assert watched.astray < 1e-3


class _Always(nn.Module):
    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.answer


def test_watched_attention_computes_what_diffusers_computes() -> None:
    model = small_unet()
    model.encoder_hid_proj = nn.Identity()
    x, told = torch.randn(2, 24, 8, 8), sketches.to_tokens(torch.randn(2, 24, 8, 8))
    with torch.no_grad():
        plain = model(x, 500, told).sample
        attention.watch(model)
        assert torch.allclose(model(x, 500, told).sample, plain, atol=1e-4)


def test_the_unet_is_the_same_with_the_text_encoder_before_it(
    sprites: Sprites, tmp_path: Path
) -> None:
    words = tokenizer.build(captions.names(sprites.things), tmp_path)
    encoder, model = TextEncoder(words, layers=1), small_unet()
    tokens = tokenizer.tokens_of(words, ["a box", ""])
    x = torch.randn(2, 24, 8, 8)
    with torch.no_grad():
        model.encoder_hid_proj = nn.Identity()
        told = model(x, 500, encoder(tokens)).sample
        reading = unet.with_text(model, encoder)
        states = encoder.text_encoder(tokens).last_hidden_state
        assert torch.allclose(reading(x, 500, states).sample, told, atol=1e-4)


def test_orthogonal_has_singular_values_near_one() -> None:
    values = torch.linalg.svdvals(orthogonal(torch.randn(2, 32, 64)))
    assert values.min() > 0.4
    assert values.max() < 1.4


def test_orthogonal_stays_finite_for_a_matrix_of_low_rank() -> None:
    low = torch.randn(1, 256, 2) @ torch.randn(1, 2, 512)
    assert torch.linalg.svdvals(orthogonal(low)).max() < 1.4


@pytest.mark.parametrize("width", [16, 32])
def test_the_larger_decoder_starts_as_the_small_one(width: int) -> None:
    small = autoencoder.build(16, (2, 1, 1, 0, 0))
    large = decoder.build(width, (3, 1, 2, 0, 0, 0))
    decoder.start_from(large, small)
    latents = torch.randn(2, sketches.CHANNELS, 8, 8)
    with torch.no_grad():
        drawn, made = small.decoder(latents), large.decoder(latents)
    assert made.shape == (2, 3, 256, 256)
    means = torch.nn.functional.avg_pool2d(made, 2)
    assert (means - drawn).abs().mean() < 0.4 * drawn.std()
    if width == 32:
        first = large.decoder.layers[3].conv[0].weight
        assert not torch.equal(first[:, :16], first[:, 16:])  # the copies can part


def test_the_quick_decoder_computes_what_the_stock_one_computes() -> None:
    model = decoder.build(16, (1, 1, 1, 1, 0, 0))
    latents = torch.randn(2, sketches.CHANNELS, 8, 8)
    with torch.no_grad():
        assert torch.allclose(
            decoder.quickly(model.decoder, latents), model.decoder(latents), atol=1e-4
        )


def test_halving_an_easy_pictures_error_gains_as_much_as_a_hard_ones() -> None:
    images = torch.zeros(2, 3, 8, 8)

    def nepers(easy: float, hard: float) -> float:
        restored = images + torch.tensor([easy, hard]).view(2, 1, 1, 1)
        plain, told = (autoencoder.Weights(decibels=weight) for weight in (0.0, 1.0))
        with_it = autoencoder.loss(restored, images, told)
        return float(with_it - autoencoder.loss(restored, images, plain))

    before = nepers(0.01, 0.2)
    assert before - nepers(0.005, 0.2) == pytest.approx(before - nepers(0.01, 0.1), rel=1e-3)
    assert before - nepers(0.005, 0.2) == pytest.approx(0.693, rel=1e-2)
