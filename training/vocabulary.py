"""A head start for the words: which of them name the same thing is known before any training.

A word that names one of hundreds of things is seen too rarely to find its meaning from pictures
in the time we have. So the words of one thing start from one code, made of its picture, and half
of the pooling that tells the UNet what to draw starts out looking at such words.
"""

from collections import defaultdict

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTokenizer

from training.captions import Names, plural
from training.data import LARGE
from training.denoiser import TEXT_WIDTH, Denoiser, Encoded

LOUDNESS = 0.3
"""Size of an embedding; loud, so that words stand out from positions and biases from the start."""
TOKENS = "embeddings.token_embedding.weight"
SHARED_BY = 3
"""A token that more things than this share means none of them."""
FOCUS = 9.0
"""How much more the pooling's seeded heads attend to a naming word, as a logarithm."""
HEADS, SEEDED = 4, 2


def owners(tokenizer: CLIPTokenizer, names: list[Names]) -> dict[int, set[int]]:
    """Tokens of names, with the things that each belongs to."""
    found: dict[int, set[int]] = defaultdict(set)
    for thing, name in enumerate(names):
        words = [*name.words, *(plural(word) for word in name.words)]
        for tokens in tokenizer(words, add_special_tokens=False).input_ids:
            for token in tokens:
                found[token].add(thing)
    return {token: things for token, things in found.items() if len(things) <= SHARED_BY}


def picture_codes(encoded: Encoded, things: int) -> Tensor:
    """Codes (things, TEXT_WIDTH) that say what each thing's mean latents look like.

    Their principal components, half whitened: what is learned about a component serves all things.
    """
    means = torch.zeros(things, encoded.latents[0].numel())
    for row, scene in enumerate(encoded.scenes):
        if not scene.mirrored and scene.side >= LARGE:
            means[scene.thing] += encoded.latents[row].float().flatten()
    means /= means.norm(dim=1, keepdim=True).clamp(min=1e-6)
    left, values, _ = torch.linalg.svd(means - means.mean(dim=0), full_matrices=False)
    some = (left * values.sqrt())[:, :TEXT_WIDTH]
    codes = F.pad(some, (0, TEXT_WIDTH - some.shape[1]))
    turn, _ = torch.linalg.qr(
        torch.randn(TEXT_WIDTH, TEXT_WIDTH, generator=torch.Generator().manual_seed(0))
    )
    loud: Tensor = LOUDNESS * F.normalize(codes, dim=1) * TEXT_WIDTH**0.5 @ turn
    return loud


@torch.no_grad()
def seed_embeddings(model: Denoiser, naming: dict[int, set[int]], codes: Tensor) -> None:
    """Give the words of one thing its code, and all naming words something in common."""
    generator = torch.Generator().manual_seed(0)
    common = 0.6 * LOUDNESS * torch.randn(TEXT_WIDTH, generator=generator)
    table: Tensor = model.text_encoder.get_parameter(TOKENS)
    table.copy_(LOUDNESS * torch.randn(table.shape, generator=generator))
    for token, owned_by in naming.items():
        table[token] = common + codes[sorted(owned_by)].sum(dim=0) / len(owned_by) ** 0.5


def _separating(outputs: Tensor, is_name: Tensor) -> Tensor:
    """The direction along which naming words lie at 1 and others at 0, by ridge regression."""
    x = torch.cat([outputs, torch.ones(len(outputs), 1)], dim=1)
    gram = x.T @ x + len(x) * 1e-3 * torch.eye(x.shape[1])
    solution: Tensor = torch.linalg.solve(gram, x.T @ is_name)
    return solution[:-1]


@torch.no_grad()
def focus_pooling(
    model: Denoiser, tokenizer: CLIPTokenizer, naming: dict[int, set[int]], texts: list[str]
) -> None:
    """Let the first heads of the pooling attend to naming words, whatever the query."""
    tokens = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
    embedding = model.unet.add_embedding
    outputs = embedding.norm1(model.text_encoder(tokens).last_hidden_state).flatten(0, 1)
    is_name = torch.tensor([float(int(t) in naming) for t in tokens.flatten()])
    direction = _separating(outputs, is_name)
    width = TEXT_WIDTH // HEADS
    rows, pool = slice(0, SEEDED * width), embedding.pool
    pool.q_proj.weight[rows] = 0
    pool.q_proj.bias[rows] = 1
    pool.k_proj.weight[rows] = FOCUS / width**0.5 * direction
    pool.k_proj.bias[rows] = 0
    pool.v_proj.weight[rows] = torch.randn(SEEDED * width, TEXT_WIDTH) / TEXT_WIDTH**0.5
    pool.v_proj.bias[rows] = 0
    projection = embedding.proj.weight
    spread = F.normalize(torch.randn_like(projection[:, rows]), dim=1)
    projection[:, rows] = spread * projection.norm(dim=1).mean().clamp(min=1)


def seed(model: Denoiser, tokenizer: CLIPTokenizer, names: list[Names], encoded: Encoded) -> None:
    naming = owners(tokenizer, names)
    seed_embeddings(model, naming, picture_codes(encoded, len(names)))
    texts = [f"a {name.words[0]} on a blue background" for name in names]
    focus_pooling(model, tokenizer, naming, texts)
