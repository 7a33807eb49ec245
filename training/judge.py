"""A classifier that names the thing in a picture, trained on renderings only.

It shares nothing with the model that it judges, and is tested on renderings of held-out pairs of
thing and colour that it has not seen either. Pictures with several things are shown to it in parts.
"""

import logging
import random
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training import paths
from training.pictures import to_tensor
from training.scenes import GRID, Scene, Scenes, side_by_side, single, stacked, three_of
from training.schedule import Clock, Settings
from training.sprites import Sprites

log = logging.getLogger(__name__)

SIDE = 64
"""Side in pixels at which the judge looks."""
SETTINGS = Settings(samples=60_000, batch=64, learning_rate=2e-3, level=0.2)
Box = tuple[float, float, float]
"""Side, left and top, in parts of scenes.GRID."""


def _box(placed: object) -> Box:
    return placed.side, placed.x, placed.y  # type: ignore[attr-defined]


_ONE = single(0).first
PARTS: tuple[Box, ...] = tuple(
    _box(placed) for placed in (*side_by_side(_ONE, _ONE), *stacked(_ONE, _ONE), three_of(_ONE)[0])
)
"""Where a thing stands when it shares the picture."""


def build(classes: int) -> nn.Sequential:
    """Pictures (n, 3, SIDE, SIDE) from -1 to 1 to logits (n, classes)."""
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128), (128, 256)):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
    layers += [nn.Conv2d(256, 256, 3, 1, 1), nn.BatchNorm2d(256), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(256 * (SIDE // 16) ** 2, classes))


def whole(images: Tensor) -> Tensor:
    """Pictures (n, 3, h, w) resized to the judge's input."""
    return F.interpolate(images, (SIDE, SIDE), mode="area")


def part(images: Tensor, box: Box) -> Tensor:
    """One part of each picture, enlarged so that its thing fills it like a single thing would."""
    side, x, y = box
    scale = images.shape[2] / GRID
    margin = side / (GRID - 2) * 0.5  # a single thing leaves one part of GRID around it
    left, top = round(max(0.0, x - margin) * scale), round(max(0.0, y - margin) * scale)
    size = round((side + 2 * margin) * scale)
    cut = images[:, :, top : top + size, left : left + size]
    return F.interpolate(cut, (SIDE, SIDE), mode="bilinear", antialias=True)


def unseen_scene(index: int, sprites: Sprites, rng: random.Random) -> Scene:
    """A scene with one large thing, in a held-out combination if there is one."""
    scenes = Scenes(sprites.things, rng)
    for _ in range(1000):
        scene = scenes.held_out(index)
        if scene is not None:
            return scene
    return single(index)


def train(sprites: Sprites, file: Path, settings: Settings = SETTINGS) -> nn.Sequential:
    """Load the trained judge, or train it on new renderings."""
    model = build(len(sprites.things))
    if file.exists():
        model.load_state_dict(torch.load(file, weights_only=True))
        return model.eval()
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=0.01)
    clock, rng = Clock(settings), random.Random(7)
    scenes = Scenes(sprites.things, rng)
    while not clock.is_over():
        rows = [rng.randrange(len(sprites.things)) for _ in range(settings.batch)]
        shown = [scenes.training_single(row) for row in rows]
        loss = _loss(model, whole(to_tensor([sprites.render(scene) for scene in shown])), rows)
        clock.step(optimizer, loss, settings.batch)
        if clock.steps % 100 == 0:
            log.info("judge %s loss %.3f", clock, loss.item())
    paths.save_atomically(model.state_dict(), file)
    return model.eval()


def _loss(model: nn.Module, images: Tensor, rows: list[int]) -> Tensor:
    """With noise and blur, so that the judge doesn't rely on the finest details."""
    if random.random() < 0.5:
        images = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2.0, mode="bilinear")
    noisy = images + 0.1 * random.random() * torch.randn_like(images)
    return F.cross_entropy(model(noisy), torch.tensor(rows), label_smoothing=0.05)


@torch.inference_mode()
def hits(model: nn.Module, images: Tensor, rows: list[int]) -> Tensor:
    """Top-1 and top-5 hits for each picture: bool (n, 2)."""
    logits = model(images)
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices
    hit = ranked == torch.tensor(rows)[:, None]
    return torch.stack([hit[:, 0], hit.any(dim=1)], dim=1)


def accuracy(model: nn.Module, images: Tensor, rows: list[int]) -> tuple[float, float]:
    """Top-1 and top-5 accuracy."""
    first, five = hits(model, images, rows).float().mean(dim=0).tolist()
    return first, five
