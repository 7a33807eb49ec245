"""What a caption means, as a code that the UNet reads: learned from pictures, then put into words.

To learn from noisy pictures and from sentences at once which thing looks how takes a small network
very long. Apart, each is quick. First a small network learns to sketch a picture from a list of
what is told: no text, no noise. The code of a meaning is that sketch, in the main directions in
which pictures differ, so that what the UNet learns about one code it has learned about all. Then
the UNet learns to denoise, told the codes. And the text encoder learns, from captions alone, to say
them: words.py.
"""

import logging
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training import arithmetic, paths
from training.captions import Caption, Names, caption
from training.clock import Clock, Schedule
from training.data import BACKGROUNDS, SMALL, SMALL_OFFSETS, TINTS, Scene

log = logging.getLogger(__name__)

CODE = 512
"""Width of a code, which is that of the UNet's time embedding."""
KEPT = 504
"""Directions kept of a sketch; the rest of a code is constant."""
CONSTANT = 1.5
"""What fills a code up, so that how strong a sketch is survives the normalising."""
PLACES = 2 * len(SMALL_OFFSETS) + 1


@dataclass(frozen=True)
class Settings:
    minutes: float
    batch: int = 256
    learning_rate: float = 2e-3


def _place(scene: Scene) -> list[float]:
    """Which side the thing looks to, and where a small one stands, which no caption tells."""
    corners = [float(scene.side == SMALL and scene.x == offset) for offset in SMALL_OFFSETS]
    corners += [float(scene.side == SMALL and scene.y == offset) for offset in SMALL_OFFSETS]
    return [float(scene.mirrored), *corners]


MIDDLE = SMALL_OFFSETS[len(SMALL_OFFSETS) // 2]
AS_USUAL = _place(Scene(0)), _place(Scene(0, side=SMALL, x=MIDDLE, y=MIDDLE))
"""The place of a sketch: not mirrored, in the middle; of a large thing, and of a small one."""


class Directions(nn.Module):
    """The main directions, KEPT at most, in which latents (n, size) differ from their mean."""

    mean: Tensor
    basis: Tensor
    turn: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("basis", torch.zeros(size, KEPT))
        orthogonal, _ = torch.linalg.qr(
            torch.randn(CODE, CODE, generator=torch.Generator().manual_seed(0))
        )
        self.register_buffer("turn", orthogonal, persistent=False)

    def fit(self, latents: Tensor) -> None:
        """Find them, scaled so that coordinates have a mean square of 1."""
        self.mean.copy_(latents.mean(dim=0))
        away = latents - self.mean
        _, directions = torch.linalg.eigh(away.T @ away)
        basis = directions.flip(1)[:, :KEPT]
        found = basis.shape[1]
        self.basis[:, :found] = basis / (away @ basis).square().mean().sqrt()

    def coordinates(self, latents: Tensor) -> Tensor:
        """Coordinates (n, KEPT) of latents (n, size)."""
        return (latents - self.mean) @ self.basis

    def codes(self, coordinates: Tensor) -> Tensor:
        """Codes (n, CODE): the coordinates, spread over all numbers of the code, normalised."""
        filled = F.pad(coordinates, (0, CODE - KEPT), value=CONSTANT)
        return F.layer_norm(filled @ self.turn, (CODE,))


class Meanings(nn.Module):
    """Sketches of what captions tell, and their codes."""

    def __init__(self, things: int, size: int, width: int = 1024) -> None:
        super().__init__()
        self.things = things
        self.thing = nn.Embedding(things + 1, CODE)
        self.background = nn.Embedding(len(BACKGROUNDS) + 1, CODE)
        self.tint = nn.Embedding(len(TINTS) + 1, CODE)
        self.small = nn.Embedding(2, CODE)
        self.norm = nn.LayerNorm(CODE)
        self.sketcher = nn.Sequential(
            nn.Linear(CODE + PLACES, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, KEPT),
        )
        self.directions = Directions(size)

    @property
    def choices(self) -> list[int]:
        """How many values each column of a row may take."""
        tables = (self.thing, self.background, self.tint, self.small)
        return [*(table.num_embeddings for table in tables), 2]  # mirrored or not

    def rows(self, captions: list[Caption]) -> Tensor:
        """Rows (n, 5): of the four tables, where the last is for what isn't told; and mirrored."""
        return torch.tensor([self._row(told) for told in captions])

    def _row(self, told: Caption) -> tuple[int, int, int, int, int]:
        backgrounds, tints = list(BACKGROUNDS), list(TINTS)
        return (
            self.things if told.thing is None else told.thing,
            len(backgrounds) if told.background is None else backgrounds.index(told.background),
            len(tints) if told.tint is None else tints.index(told.tint),
            int(told.small),
            int(told.mirrored),
        )

    def sketch(self, rows: Tensor, places: Tensor) -> Tensor:
        """Coordinates (n, KEPT) of what is told in rows (n, 5), at places (n, PLACES)."""
        thing, background, tint, small, _ = rows.unbind(1)
        parts = self.thing(thing) + self.background(background) + self.tint(tint)
        told = self.norm(parts + self.small(small))
        drawn: Tensor = self.sketcher(torch.cat([told, places], dim=1))
        return drawn

    @torch.no_grad()
    def forward(self, rows: Tensor) -> Tensor:
        """Codes (n, CODE) of rows (n, 5)."""
        small, mirrored = rows[:, 3], rows[:, 4]
        places = torch.tensor(AS_USUAL)[small]
        places[:, 0] = mirrored
        return self.directions.codes(self.sketch(rows, places).float())


def learn_codes(
    scenes: list[Scene], latents: Tensor, names: list[Names], settings: Settings, cache: Path
) -> Meanings:
    """Meanings whose sketches come nearest to latents (n, c, h, w); loaded where they are."""
    flat = latents.flatten(1).float()
    meanings = Meanings(len(names), flat.shape[1])
    file, directions = cache / "codes.pt", cache / "directions.pt"
    if file.exists():
        meanings.load_state_dict(torch.load(file, weights_only=True))
        return meanings
    if directions.exists():  # recovered: what the UNet was trained on must stay what it is
        meanings.directions.load_state_dict(torch.load(directions, weights_only=True))
    else:
        meanings.directions.fit(flat)
    targets = meanings.directions.coordinates(flat)
    places = torch.tensor([_place(scene) for scene in scenes])
    rate = settings.learning_rate
    optimizer = torch.optim.AdamW(meanings.parameters(), rate, betas=(0.9, 0.98), fused=True)
    clock, rng = Clock(Schedule(settings.minutes, rate)), random.Random(3)
    while not clock.is_over():
        picked = rng.choices(range(len(scenes)), k=settings.batch)
        told = [caption(names, scenes[row], rng) for row in picked]
        with arithmetic.fastest():
            drawn = meanings.sketch(meanings.rows(told), places[picked])
        loss = F.mse_loss(drawn.float(), targets[picked])
        clock.step(optimizer, loss)
        if clock.count % 500 == 0:
            log.info("codes %d steps %.0f s loss %.4f", clock.count, clock.elapsed, loss.item())
    paths.save_atomically(meanings.state_dict(), file)
    return meanings
