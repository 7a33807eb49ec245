"""The recipe's networks, but small."""

from functools import partial

import pytest

from training import autoencoder, decoder, latents, text_encoder, unet


def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unet, "build", partial(unet.build, (128, 32, 32)))
    monkeypatch.setattr(autoencoder, "build", partial(autoencoder.build, 16, (1, 1, 0, 0, 0)))
    monkeypatch.setattr(autoencoder, "WIDTH", 16)
    monkeypatch.setattr(decoder, "build", partial(decoder.build, 16, (1, 1, 1, 0, 0, 0)))
    monkeypatch.setattr(text_encoder, "LAYERS", 1)
    monkeypatch.setattr(latents, "SHARD", 32)
