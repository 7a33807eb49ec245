"""Trains the small tokenizer for captions."""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPTokenizer

from training import phrases
from training.captions import Names, plural

VOCABULARY = 8192


def _corpus(all_names: list[Names]) -> list[str]:
    """Every word of the captions, common ones repeated."""
    texts = []
    for name in all_names:
        for word, weight in zip(name.words, name.weights, strict=True):
            texts += [word] * (12 if weight > 1 else 2)
            texts += [plural(word)] * (4 if weight > 1 else 0)
        for words in name.foreign.values():
            texts += [*words[:1] * 8, *words[1:]]
    texts += [name.emoji for name in all_names for _ in range(12)]
    around: list[str] = []
    for value in (v for name, v in vars(phrases).items() if name.isupper()):
        if isinstance(value, tuple):
            around += value
        elif isinstance(value, dict):
            around += [word for words in value.values() for word in words]
    for colours in phrases.FOREIGN_COLOURS.values():
        around += [word for words in colours.values() for word in words]
    around += ["a an the on with in front of background against wall two three 2 3 pair couple"]
    return texts + around * 20


def build(all_names: list[Names], folder: Path) -> CLIPTokenizer:
    """Train byte-pair encoding in CLIP's format on our words, or load it from `folder`.

    The trainer assigns different ids each time: a model only works with its own tokenizer.
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
    vocabulary: dict[str, int] = json.loads(file.read_text("utf-8"))
    for byte in alphabet:  # any byte may end a word, so that every word can be encoded
        vocabulary.setdefault(byte + suffix, len(vocabulary))
    file.write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    clip = CLIPTokenizer(
        vocab=str(file),
        merges=str(folder / "merges.txt"),
        model_max_length=phrases.MAX_TOKENS,
    )
    clip.save_pretrained(folder)
    return clip


def tokens_of(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids (n, MAX_TOKENS)."""
    ids: Tensor = tokenizer(
        texts, padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    return ids
