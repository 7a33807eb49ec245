"""The small vocabulary that encodes captions."""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from training.captions import (
    ADJECTIVES,
    BIG_WORDS,
    COLOUR_WORDS,
    ENDINGS,
    MAX_TOKENS,
    MIRRORED_WORDS,
    NOTHING_KNOWN,
    OPENINGS,
    SMALL_WORDS,
    Names,
    plural,
)

VOCABULARY = 4096


def _corpus(all_names: list[Names]) -> list[str]:
    """Every word that captions are made of, the common ones often."""
    texts = [word for name in all_names for word in name.words for _ in range(3)]
    texts += [plural(word) for name in all_names for word in name.words]
    fixed = (
        *OPENINGS,
        *ADJECTIVES,
        *ENDINGS,
        *NOTHING_KNOWN,
        *BIG_WORDS,
        *SMALL_WORDS,
        *MIRRORED_WORDS,
    )
    colours = [word for words in COLOUR_WORDS.values() for word in words]
    return texts + [*fixed, *colours, "a an the on with in front of background against wall"] * 20


def build(all_names: list[Names], folder: Path) -> CLIPTokenizer:
    """Byte-pair encoding in CLIP's form, learned on our own words; loaded where `folder` has it.

    The trainer numbers what it learns differently each time: a second one reads other words.
    """
    if (folder / "tokenizer.json").exists():
        loaded: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)
        return loaded
    suffix, start, end = "</w>", "<|startoftext|>", "<|endoftext|>"
    tokenizer = Tokenizer(models.BPE(unk_token=end, end_of_word_suffix=suffix))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(alphabet),
        special_tokens=[start, end],
        end_of_word_suffix=suffix,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(all_names), trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.model.save(str(folder))
    file = folder / "vocab.json"
    vocabulary: dict[str, int] = json.loads(file.read_text())
    for byte in alphabet:  # any byte may end a word, so that no word is unknown
        vocabulary.setdefault(byte + suffix, len(vocabulary))
    file.write_text(json.dumps(vocabulary, ensure_ascii=False))
    clip = CLIPTokenizer(
        vocab=str(file),
        merges=str(folder / "merges.txt"),
        model_max_length=MAX_TOKENS,
    )
    clip.save_pretrained(folder)
    return clip
