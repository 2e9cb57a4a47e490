"""The CLIP tokenizer every supported text encoder shares, read from the vocabulary beside this file."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import ftfy

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

END_OF_TEXT = "<|endoftext|>"
START_OF_TEXT = "<|startoftext|>"
COMMA = ",</w>"

_VOCABULARY = Path(__file__).parent / "clip_tokenizer"


@lru_cache
def clip_tokenizer(pad: str = END_OF_TEXT) -> CLIPTokenizer:
    """The tokenizer with the vocabulary of OpenAI's CLIP, the same object for the same `pad`; needs no network.

    Args:
        pad: Token that fills up a chunk: `<|endoftext|>` for CLIP-L, `!` (id 0) for OpenCLIP.
    """
    # Imported here: transformers takes seconds to import, and reading a prompt's syntax needs none of it.
    from pipelines.checkpoints.libraries import CLIPTokenizer

    return CLIPTokenizer(
        vocab=str(_VOCABULARY / "vocab.json"),
        merges=str(_VOCABULARY / "merges.txt"),
        bos_token=START_OF_TEXT,
        eos_token=END_OF_TEXT,
        unk_token=END_OF_TEXT,
        pad_token=pad,
    )


def tokenize(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without start and end and of any length.

    Text is repaired with ftfy (curly quotes, full-width letters, broken encodings) and HTML entities are resolved, as
    the tokenizers of CLIP and OpenCLIP do; lower-casing and white space are the tokenizer's.

    Source: OpenAI CLIP, simple_tokenizer.py, basic_clean.
    """
    cleaned = [html.unescape(html.unescape(ftfy.fix_text(text))) for text in texts]
    encoded = tokenizer(cleaned, add_special_tokens=False, truncation=False, verbose=False)
    return cast("list[list[int]]", encoded["input_ids"])
