"""A prompt's tokens cut into chunks of 75, with a weight per token and the places of embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.conditioning.embeddings import Embedding, EmbeddingIndex
from pipelines.conditioning.prompts import WeightedText

CHUNK_LENGTH = 75


@dataclass(frozen=True, kw_only=True)
class SpecialTokens:
    """Ids the cutter needs: start, end and the comma that a chunk may be cut behind."""

    start: int = 49406
    end: int = 49407
    comma: int = 267


@dataclass(frozen=True, kw_only=True)
class Insertion:
    """Where an embedding's vectors replace tokens: they begin at `offset` + 1 of the chunk, behind the start token."""

    offset: int
    embedding: Embedding


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """What one call of a text encoder reads.

    Attributes:
        tokens: 77 ids: start, 75, end; more when an embedding has more than 75 vectors.
        weights: One per token; 1 for start, end and padding.
        insertions: Embeddings in the chunk, in order.
    """

    tokens: tuple[int, ...]
    weights: tuple[float, ...]
    insertions: tuple[Insertion, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ChunkedPrompt:
    """A prompt as chunks, at least one, and the number of tokens the user sees."""

    chunks: tuple[Chunk, ...]
    token_count: int


def empty_chunk(special: SpecialTokens) -> Chunk:
    """A chunk of nothing but padding."""
    return Chunk(
        tokens=(special.start, *[special.end] * (CHUNK_LENGTH + 1)),
        weights=(1.0,) * (CHUNK_LENGTH + 2),
    )


def padded_token_count(token_count: int) -> int:
    """Room for tokens in the chunks that `token_count` tokens fill: a multiple of 75, at least 75."""
    return max(1, math.ceil(token_count / CHUNK_LENGTH)) * CHUNK_LENGTH


def cut_into_chunks(
    pieces: Sequence[WeightedText],
    piece_tokens: Sequence[Sequence[int]],
    embeddings: EmbeddingIndex,
    *,
    comma_backtrack: int = 20,
    special: SpecialTokens | None = None,
) -> ChunkedPrompt:
    """The tokens of a prompt's pieces in chunks.

    A piece that is BREAK ends the chunk. When a chunk is full and its last comma is at most `comma_backtrack` tokens
    back, what follows the comma moves to the next chunk.

    Args:
        piece_tokens: Token ids of each piece, without start and end.
        comma_backtrack: 0 switches backtracking off.

    Source: A1111 modules/sd_hijack_clip.py, TextConditionalModel.tokenize_line.
    """
    cutter = _Cutter(special or SpecialTokens(), comma_backtrack)
    for piece, tokens in zip(pieces, piece_tokens, strict=True):
        if piece.is_break:
            cutter.close()
            continue
        at = 0
        while at < len(tokens):
            cutter.make_room(tokens[at])
            found = embeddings.find(tokens, at)
            if found is None:
                cutter.append(tokens[at], piece.weight)
                at += 1
            else:
                cutter.insert(found[0], piece.weight)
                at += found[1]
    return cutter.finish()


@dataclass
class _Cutter:
    """The chunk being filled, and those that are closed."""

    special: SpecialTokens
    comma_backtrack: int
    chunks: list[Chunk] = field(default_factory=list[Chunk])
    tokens: list[int] = field(default_factory=list[int])
    weights: list[float] = field(default_factory=list[float])
    insertions: list[Insertion] = field(default_factory=list[Insertion])
    last_comma: int | None = None
    token_count: int = 0

    def make_room(self, token: int) -> None:
        """Closes the chunk if it is full, at its last comma if that is near and `token` is not a comma itself."""
        filled = len(self.tokens)
        if token == self.special.comma:
            # Recorded before the chunk may close, which forgets it: a comma that opens a chunk is never cut behind.
            self.last_comma = filled
        elif self._may_backtrack():
            assert self.last_comma is not None
            keep = self.last_comma + 1
            # Insertions stay behind: A1111 moves the placeholder tokens of an embedding but not its marker.
            moved_tokens, moved_weights = self.tokens[keep:], self.weights[keep:]
            del self.tokens[keep:], self.weights[keep:]
            self.close()
            self.tokens, self.weights = moved_tokens, moved_weights
        if len(self.tokens) == CHUNK_LENGTH:
            self.close()

    def _may_backtrack(self) -> bool:
        filled = len(self.tokens)
        return (
            self.comma_backtrack != 0
            and filled == CHUNK_LENGTH
            and self.last_comma is not None
            and filled - self.last_comma <= self.comma_backtrack
        )

    def append(self, token: int, weight: float) -> None:
        self.tokens.append(token)
        self.weights.append(weight)

    def insert(self, embedding: Embedding, weight: float) -> None:
        count = embedding.vector_count
        if len(self.tokens) + count > CHUNK_LENGTH:
            self.close()
        self.insertions.append(Insertion(offset=len(self.tokens), embedding=embedding))
        self.tokens += [0] * count
        self.weights += [weight] * count

    def close(self, *, is_last: bool = False) -> None:
        """Ends the chunk: padded to 75, start in front, end behind."""
        self.token_count += len(self.tokens) if is_last else CHUNK_LENGTH
        padding = max(0, CHUNK_LENGTH - len(self.tokens))
        self.chunks.append(
            Chunk(
                tokens=(self.special.start, *self.tokens, *[self.special.end] * (padding + 1)),
                weights=(1.0, *self.weights, *[1.0] * (padding + 1)),
                insertions=tuple(self.insertions),
            )
        )
        self.tokens, self.weights, self.insertions, self.last_comma = [], [], [], None

    def finish(self) -> ChunkedPrompt:
        if self.tokens or not self.chunks:
            self.close(is_last=True)
        return ChunkedPrompt(chunks=tuple(self.chunks), token_count=self.token_count)
