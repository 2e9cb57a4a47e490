"""Emphasis as in A1111's first versions: brackets are tokens that change a running weight; one chunk of 75 tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from pipelines.conditioning.chunks import CHUNK_LENGTH, Chunk, ChunkedPrompt, Insertion, SpecialTokens
from pipelines.conditioning.embeddings import EmbeddingIndex

if TYPE_CHECKING:
    from transformers import CLIPTokenizer


@lru_cache
def bracket_factors(tokenizer: CLIPTokenizer) -> dict[int, float]:
    """Token id → factor on the running weight, for tokens with brackets that do not cancel each other out."""
    factors: dict[int, float] = {}
    for text, token in tokenizer.get_vocab().items():
        factor = 1.0
        for char in text:
            # Divided where A1111 divides: 1 / 1.1 is rounded, and the products would differ in the last digit.
            factor = factor / 1.1 if char in ")[" else factor * 1.1 if char in "(]" else factor
        if factor != 1.0:
            factors[token] = factor
    return factors


def cut_old(
    tokens: Sequence[int],
    embeddings: EmbeddingIndex,
    factors: dict[int, float],
    special: SpecialTokens | None = None,
) -> ChunkedPrompt:
    """The tokens of a whole prompt in one chunk; what does not fit is left out.

    Args:
        factors: Bracket tokens; empty when emphasis is switched off, brackets are text then.

    Source: A1111 modules/sd_hijack_clip_old.py, process_text_old.
    """
    special = special or SpecialTokens()
    kept: list[int] = []
    weights: list[float] = []
    insertions: list[Insertion] = []
    weight, at = 1.0, 0
    while at < len(tokens):
        found = embeddings.find(tokens, at)
        if tokens[at] in factors:
            weight *= factors[tokens[at]]
            at += 1
        elif found is None:
            kept.append(tokens[at])
            weights.append(weight)
            at += 1
        else:
            insertions.append(Insertion(offset=len(kept), embedding=found[0]))
            kept += [0] * found[0].vector_count
            weights += [weight] * found[0].vector_count
            at += found[1]
    padding = max(0, CHUNK_LENGTH - len(kept))
    chunk = Chunk(
        tokens=(special.start, *kept[:CHUNK_LENGTH], *[special.end] * (padding + 1)),
        weights=(1.0, *weights[:CHUNK_LENGTH], *[1.0] * (padding + 1)),
        insertions=tuple(insertions),
    )
    return ChunkedPrompt(chunks=(chunk,), token_count=len(kept))
