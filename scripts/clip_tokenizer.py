"""Writes vocab.json and merges.txt of CLIP's tokenizer from OpenAI's published list of merges.

    python scripts/clip_tokenizer.py bpe_simple_vocab_16e6.txt.gz backend/model/sd1/tokenizer

The list is part of https://github.com/openai/CLIP (MIT) and of the package open_clip_torch. The
vocabulary is 256 bytes, the same bytes at a word's end, one token per merge, start and end.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

NUM_MERGES = 49152 - 256 - 2
SPECIAL = ("<|startoftext|>", "<|endoftext|>")
END_OF_WORD = "</w>"


def main(source: Path, folder: Path) -> None:
    """Write both files into `folder`."""
    with gzip.open(source, "rt", encoding="utf-8") as lines:
        merges = lines.read().split("\n")[1 : NUM_MERGES + 1]
    letters = byte_letters()
    tokens = [*letters, *(letter + END_OF_WORD for letter in letters)]
    tokens += [merge.replace(" ", "") for merge in merges]
    tokens += SPECIAL
    vocabulary = {token: index for index, token in enumerate(tokens)}
    text = json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":"))
    (folder / "vocab.json").write_text(text, encoding="utf-8")
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8"
    )


def byte_letters() -> list[str]:
    """A printable character for each of the 256 bytes, printable bytes first, as in GPT-2."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [*map(chr, printable), *(chr(256 + index) for index in range(len(others)))]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
