"""The CLIP tokenizer files and the compact vocabulary the text encoder is trained on.

Captions use about a hundred of CLIP's 49 408 tokens. The text encoder is trained on those plus one "unknown" row, and
the export spreads the rows over the full table, with the unknown row for every other token.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPTokenizer

from tools.scene_model.captions import known_words
from tools.scene_model.networks import BEGIN_TOKEN, CLIP_VOCABULARY_SIZE, END_TOKEN, TEXT_LENGTH

TOKENIZER_FOLDER = Path(__file__).resolve().parents[2] / "pipelines" / "conditioning" / "clip_tokenizer"
_MERGES = 49152 - 256 - 2
UNKNOWN = 0


def _byte_symbols() -> list[str]:
    """Returns CLIP's printable stand-ins for the 256 byte values, in the order of its vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def write_tokenizer_files(bpe_file: Path, folder: Path) -> None:
    """Converts OpenAI's `bpe_simple_vocab_16e6.txt.gz` into the files `CLIPTokenizer.from_pretrained` reads.

    Args:
        bpe_file: As found in the open_clip_torch wheel (MIT licence).
        folder: Gets vocab.json, merges.txt, tokenizer_config.json and special_tokens_map.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    merges = gzip.decompress(bpe_file.read_bytes()).decode("utf-8").split("\n")[1 : _MERGES + 1]
    symbols = _byte_symbols()
    words = [*symbols, *(symbol + "</w>" for symbol in symbols), *("".join(merge.split()) for merge in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    assert len(words) == CLIP_VOCABULARY_SIZE, len(words)
    vocabulary = {word: index for index, word in enumerate(words)}
    end = "<|endoftext|>"
    special = {"bos_token": "<|startoftext|>", "eos_token": end, "unk_token": end, "pad_token": end}
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": TEXT_LENGTH,
        "do_lower_case": True,
        "errors": "replace",
        "add_prefix_space": False,
        **special,
    }
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n", encoding="utf-8")


@lru_cache(maxsize=1)
def load_tokenizer() -> CLIPTokenizer:
    """Returns the CLIP tokenizer that the repository holds."""
    return CLIPTokenizer.from_pretrained(str(TOKENIZER_FOLDER))


def clip_tokens(caption: str) -> list[int]:
    """Returns CLIP's token ids of a caption without begin and end."""
    return list(load_tokenizer()(caption)["input_ids"])[1:-1]  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, kw_only=True)
class CompactVocabulary:
    """The tokens captions use: row 0 is "unknown", row i + 1 is `clip_ids[i]`; begin and end come last."""

    clip_ids: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of rows, the unknown one included."""
        return len(self.clip_ids) + 1

    @property
    def begin(self) -> int:
        """Row of the begin token."""
        return self.size - 2

    @property
    def end(self) -> int:
        """Row of the end token, also the padding."""
        return self.size - 1

    def encode(self, caption: str) -> list[int]:
        """Returns the rows of a caption's tokens without begin and end; at most 75."""
        rows = {token: index + 1 for index, token in enumerate(self.clip_ids)}
        return [rows.get(token, UNKNOWN) for token in _cached_tokens(caption)][: TEXT_LENGTH - 2]

    def pad(self, sequences: list[list[int]]) -> torch.Tensor:
        """Returns (n, 77) int64: begin, tokens, end and padding."""
        table = np.full((len(sequences), TEXT_LENGTH), self.end, np.int64)
        table[:, 0] = self.begin
        for row, tokens in zip(table, sequences, strict=True):
            row[1 : 1 + len(tokens)] = tokens
        return torch.from_numpy(table)

    def encode_batch(self, captions: list[str]) -> torch.Tensor:
        """Returns the padded rows of captions, (n, 77)."""
        return self.pad([self.encode(caption) for caption in captions])

    def expand_table(self, compact: torch.Tensor) -> torch.Tensor:
        """Returns the full table, (49408, width): trained rows where trained, the unknown row elsewhere."""
        full = compact[UNKNOWN].repeat(CLIP_VOCABULARY_SIZE, 1)
        full[list(self.clip_ids)] = compact[1:]
        return full


@lru_cache(maxsize=200_000)
def _cached_tokens(caption: str) -> tuple[int, ...]:
    return tuple(clip_tokens(caption))


@lru_cache(maxsize=1)
def compact_vocabulary() -> CompactVocabulary:
    """Returns the vocabulary of everything `captions.py` can say."""
    tokens: set[int] = set()
    for words in known_words():
        tokens.update(clip_tokens(words))
        tokens.update(clip_tokens(f"{words}, {words}"))
    return CompactVocabulary(clip_ids=(*sorted(tokens), BEGIN_TOKEN, END_TOKEN))


def with_unknown_words(tokens: list[int], rng: np.random.Generator, share: float = 0.15) -> list[int]:
    """Returns the tokens, in `share` of the cases with a few unknown ones strewn in."""
    if rng.random() >= share:
        return tokens
    tokens = list(tokens)
    for _ in range(int(rng.integers(1, 5))):
        tokens.insert(int(rng.integers(len(tokens) + 1)), UNKNOWN)
    return tokens[: TEXT_LENGTH - 2]
