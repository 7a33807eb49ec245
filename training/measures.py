"""Measures on pictures, for the evaluation."""

import itertools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.autoencoder import decibels
from training.pictures import Pixels, to_tensor
from training.scenes import COLOURS, TINTS, Scene, single
from training.sprites import Sprites

BORDER = 12
"""Width in pixels of the frame in which the background's colour is read."""
UNLIKE_BACKGROUND = 40
"""Distance in RGB from the background's colour at which a pixel counts as the thing's."""
THUMBNAIL = 16


def psnr(pictures: list[Pixels], scenes: list[Scene], sprites: Sprites) -> list[float]:
    """PSNR in dB of each picture against its reference rendering."""
    drawn, asked = to_tensor(pictures), to_tensor([sprites.render(scene) for scene in scenes])
    values: list[float] = decibels(drawn, asked).tolist()
    return values


def edge_energy(pictures: list[Pixels]) -> float:
    """Mean square difference between neighbouring pixels."""
    images = to_tensor(pictures)
    rows, columns = images.diff(dim=2).square().mean(), images.diff(dim=3).square().mean()
    return float(rows + columns)


def background_of(picture: Pixels) -> Pixels:
    """The median colour of the frame around the picture."""
    mask = np.ones(picture.shape[:2], bool)
    mask[BORDER:-BORDER, BORDER:-BORDER] = False
    median: Pixels = np.median(picture[mask], axis=0)
    return median


def named(colour: Pixels) -> str:
    """The nearest of the plain backgrounds' colours, in RGB."""
    return min(COLOURS, key=lambda name: float(np.abs(colour - COLOURS[name]).sum()))


def object_colour(picture: Pixels) -> Pixels:
    """The mean colour of what is not background."""
    away = np.abs(picture.astype(np.float32) - background_of(picture)).sum(axis=-1)
    shown = picture[away > UNLIKE_BACKGROUND]
    mean: Pixels = (shown if len(shown) else picture.reshape(-1, 3)).mean(axis=0)
    return mean


def nearest_tint(picture: Pixels, thing: int, background: str, sprites: Sprites) -> str:
    """The colour whose rendering of the thing is nearest to the picture's mean colour."""
    seen = object_colour(picture)

    def distance(tint: str) -> float:
        rendering = sprites.render(single(thing, background, tint))
        return float(np.abs(object_colour(rendering) - seen).sum())

    return min(TINTS, key=distance)


def colours_right(
    pictures: list[Pixels], scenes: list[Scene], sprites: Sprites
) -> tuple[float, float]:
    """Shares of pictures with the requested colour of the background, and of the thing."""
    backgrounds: list[bool] = []
    tints: list[bool] = []
    for picture, scene in zip(pictures, scenes, strict=True):
        background = named(background_of(picture))
        backgrounds.append(background == scene.background)
        if scene.first.tint is not None:
            found = nearest_tint(picture, scene.first.thing, background, sprites)
            tints.append(found == scene.first.tint)
    return float(np.mean(backgrounds)), float(np.mean(tints or [False]))


def thumbnails(pictures: list[Pixels]) -> Tensor:
    """Small versions of the pictures as vectors (n, 768), for distances."""
    return F.interpolate(to_tensor(pictures), (THUMBNAIL, THUMBNAIL), mode="area").flatten(1)


def distances(left: Tensor, right: Tensor) -> Tensor:
    """Root mean square difference (n, m) of thumbnails; black to white is 2."""
    apart: Tensor = torch.cdist(left, right) / left.shape[1] ** 0.5
    return apart


def diversity(pictures: list[Pixels], seeds: int) -> float:
    """Mean distance between pictures of the same prompt, `seeds` consecutive ones each."""
    prompts = thumbnails(pictures).view(len(pictures) // seeds, seeds, -1)
    pairs = list(itertools.combinations(range(seeds), 2))
    return float(torch.stack([distances(p, p)[i, j] for p in prompts for i, j in pairs]).mean())


def nearer_to_unseen(
    pictures: list[Pixels], scenes: list[Scene], seen: list[Scene], sprites: Sprites
) -> dict[str, float]:
    """Distances of pictures to the nearest training picture, and to the held-out rendering."""
    rows = thumbnails(pictures)
    known = torch.cat([thumbnails([sprites.render(s)]) for s in seen])
    nearest = distances(rows, known).min(dim=1).values
    asked = torch.cat([thumbnails([sprites.render(scene)]) for scene in scenes])
    own = (rows - asked).square().mean(dim=1).sqrt()
    return {
        "distance_to_nearest_training_picture": float(nearest.median()),
        "distance_to_unseen_rendering": float(own.median()),
        "nearer_to_unseen_rendering": float((own < nearest).float().mean()),
    }
