"""The folder for downloads and checkpoints."""

import os
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
THINGS = Path(__file__).with_name("things.txt")
NEAR_WORDS = Path(__file__).with_name("near_words.txt")
PROMPTS = Path(__file__).with_name("evaluation_prompts.json")
STRANGERS = Path(__file__).with_name("strangers.json")
MODEL = ROOT / "models" / "text2image-mini"


def cache() -> Path:
    """The cache folder, outside the repository."""
    default = Path.home() / ".cache" / "text2image" / "training"
    folder = Path(os.environ.get("TEXT2IMAGE_TRAINING_CACHE", default))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def save_atomically(state: object, path: Path) -> None:
    """Write a checkpoint atomically."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)
