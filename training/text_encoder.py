"""Trains the text encoder to predict sketches of the latents from captions, without the UNet.

A prompt is padded to full length. The text encoder's attention is causal, so its last tokens see
the whole prompt; each learns to predict one part of the latents (2 x 2 positions) of the mean
picture for that prompt. The UNet reads them by cross-attention (sketches.py).
"""

import logging
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training import arithmetic, sketches
from training.checkpoints import Checkpoints
from training.lessons import CaptionBatch, Source
from training.muon import CombinedOptimizer, optimizers
from training.phrases import MAX_TOKENS, WORDS
from training.schedule import Clock, Settings

log = logging.getLogger(__name__)

WIDTH, LAYERS, HEADS = 256, 3, 4
CODES = 0.1
"""Weight of the error of what tells one token from another, beside the sketch's."""


class TextEncoder(nn.Module):
    """Token ids (n, MAX_TOKENS) to the UNet's text embeddings (n, MAX_TOKENS, WIDTH)."""

    def __init__(self, tokenizer: CLIPTokenizer, layers: int = LAYERS) -> None:
        super().__init__()
        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=WIDTH,
                intermediate_size=4 * WIDTH,
                num_hidden_layers=layers,
                num_attention_heads=HEADS,
                max_position_embeddings=MAX_TOKENS,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        self.projection = nn.Linear(WIDTH, sketches.WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        # For so few tokens plain matrix products are faster than fused attention.
        with sdpa_kernel(SDPBackend.MATH):
            states: Tensor = self.text_encoder(tokens).last_hidden_state
        told: Tensor = self.projection(states)
        return told


class Training:
    """Trains on captions of encoded scenes, resuming from the checkpoint."""

    def __init__(self, encoder: TextEncoder, settings: Settings, checkpoint: Path) -> None:
        self.encoder, self.settings, self.checkpoint = encoder, settings, checkpoint
        self.device = encoder.projection.weight.device
        self.clock = Clock(settings)
        self.optimizer = CombinedOptimizer(optimizers(encoder, settings.learning_rate))
        self.checkpoints = Checkpoints(
            checkpoint,
            {"model": encoder, "optimizer": self.optimizer, "clock": self.clock},
            self.device,
        )

    def loss(self, told: CaptionBatch) -> tuple[Tensor, Tensor]:
        """Mean square errors of the sketches, and of the codes."""
        with arithmetic.fastest(self.device):
            said = self.encoder(told.tokens).float()
        aim = sketches.to_tokens(told.latents.float())
        numbers = sketches.NUMBERS
        codes = F.mse_loss(said[..., numbers:], aim[..., numbers:])
        return F.mse_loss(said[:, WORDS:, :numbers], aim[:, WORDS:, :numbers]), codes

    def run(self, lessons: Source) -> None:
        smooth, batch = 1.0, self.settings.batch
        self.clock.resume()
        for told in lessons.batches(batch, self.clock.steps, self.device):
            if self.clock.is_over():
                break
            sketch, codes = self.loss(told)
            self.clock.step(self.optimizer, sketch + CODES * codes, batch)
            if self.clock.steps % 20 == 0:
                smooth += 0.1 * (sketch.item() - smooth)
            if self.clock.steps % 100 == 0:
                log.info("text encoder %s loss %.4f, codes %.4f", self.clock, smooth, codes)
            self.checkpoints.save_sometimes()
        self.checkpoints.save()
