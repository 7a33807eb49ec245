"""A judge for the pictures: a small network that names the thing, trained on renderings alone.

It shares nothing with the model it judges, and is tested on renderings of the pairs of thing and
colour that are held out, which it has not seen either.
"""

import logging
import random
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.autoencoder import to_tensor
from training.data import Scene, Sprites, may_train, random_scene, training_scene

log = logging.getLogger(__name__)

SIDE = 64
"""Side in pixels at which the classifier looks."""


def build(classes: int) -> nn.Sequential:
    """Pictures (n, 3, 128, 128) from -1 to 1 to logits (n, classes)."""
    layers: list[nn.Module] = [nn.AvgPool2d(2)]
    for before, after in ((3, 32), (32, 64), (64, 128), (128, 256)):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
    layers += [nn.Conv2d(256, 256, 3, 1, 1), nn.BatchNorm2d(256), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(256 * (SIDE // 16) ** 2, classes))


def unseen_scene(index: int, sprites: Sprites, rng: random.Random) -> Scene:
    """A scene that training holds out; where a thing has none, any."""
    for _ in range(1000):
        scene = random_scene(index, sprites.things[index], rng)
        if not may_train(sprites.things[index], scene):
            return scene
    return scene


def train(sprites: Sprites, file: Path, samples: int, batch: int = 64) -> nn.Sequential:
    """Train on `samples` fresh renderings, or load what was trained before."""
    model = build(len(sprites.things))
    if file.exists():
        model.load_state_dict(torch.load(file, weights_only=True))
        return model.eval()
    steps = max(1, samples // batch)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    rng = random.Random(7)
    for step in range(steps):
        rows = [rng.randrange(len(sprites.things)) for _ in range(batch)]
        scenes = [training_scene(row, sprites.things, rng) for row in rows]
        loss = _loss(model, to_tensor([sprites.render(scene) for scene in scenes]), rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            log.info("classifier step %d of %d loss %.3f", step + 1, steps, loss.item())
    torch.save(model.state_dict(), file)
    return model.eval()


def _loss(model: nn.Module, images: Tensor, rows: list[int]) -> Tensor:
    """With some noise and blur, so that no judgement hangs on a rendering's finest detail."""
    if random.random() < 0.5:
        images = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2.0, mode="bilinear")
    noisy = images + 0.1 * random.random() * torch.randn_like(images)
    return F.cross_entropy(model(noisy), torch.tensor(rows), label_smoothing=0.05)


@torch.no_grad()
def hits(model: nn.Module, images: Tensor, rows: list[int]) -> Tensor:
    """Whether each picture's thing is named first, and among the first five: bool (n, 2)."""
    logits = model(images)
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices
    hit = ranked == torch.tensor(rows)[:, None]
    return torch.stack([hit[:, 0], hit.any(dim=1)], dim=1)


def accuracy(model: nn.Module, images: Tensor, rows: list[int]) -> tuple[float, float]:
    """Share of pictures whose thing is named first, and among the first five."""
    first, five = hits(model, images, rows).float().mean(dim=0).tolist()
    return first, five
