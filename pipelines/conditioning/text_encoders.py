"""Runs the text encoders of a model on chunks of tokens: which layer is read, pooling, embeddings put in place."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from pipelines.checkpoints.model import Family, LoadedModel
from pipelines.conditioning.chunks import CHUNK_LENGTH, Chunk, SpecialTokens
from pipelines.conditioning.embeddings import Embedding
from schema.errors import PromptError

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTextModelWithProjection


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Which hidden state of a text encoder the UNet reads.

    Attributes:
        from_end: 1 is the last block's output, 2 the one before, …
        normed: Whether the final layer norm is applied to it.
    """

    from_end: int
    normed: bool


def text_layer(family: Family, encoder: int, *, clip_skip: int = 1, sdxl_clip_l_skip: bool = False) -> Layer:
    """The layer to read from text encoder number `encoder` of a family.

    Only SD1 follows clip skip by default, SDXL's CLIP-L when `sdxl_clip_l_skip` is on.

    Source: A1111 modules/sd_hijack_clip.py and sd_hijack_open_clip.py, encode_with_transformers.
    """
    if family is Family.SD1:
        return Layer(from_end=clip_skip, normed=True)
    if family is Family.SD2:
        # Stable Diffusion 2 reads OpenCLIP's last block but one; a loaded model has that one as its last.
        return Layer(from_end=1, normed=True)
    if family is Family.SDXL and encoder == 0 and sdxl_clip_l_skip:
        return Layer(from_end=clip_skip, normed=False)
    return Layer(from_end=2, normed=False)


def text_widths(model: LoadedModel) -> tuple[int, ...]:
    """Width of the token embeddings of each text encoder: what an embedding has to have to fit the model."""
    return tuple(int(encoder.config.hidden_size) for encoder in model.text_encoders)


def _inner(encoder: CLIPTextModel | CLIPTextModelWithProjection) -> CLIPTextModel:
    """The network inside; transformers wraps it when the pooled output is projected."""
    return cast("CLIPTextModel", getattr(encoder, "text_model", encoder))


@torch.no_grad()
def run_text_encoder(
    encoder: CLIPTextModel | CLIPTextModelWithProjection,
    chunks: Sequence[Chunk],
    layer: Layer,
    *,
    pad: int,
    encoder_index: int = 0,
) -> tuple[Tensor, Tensor | None]:
    """Features (B, 77, D) float32 of the chunks, and the projected pooled vectors (B, P) if the encoder projects.

    Args:
        pad: Id that everything behind the first end token becomes.
        encoder_index: Which of an embedding's tensors belongs to this encoder.

    Raises:
        PromptError: If an embedding has more vectors than a chunk has room for.
    """
    inner = _inner(encoder)
    tokens = token_rows(chunks, pad).to(inner.device)
    with _embeddings_in_place(inner, chunks, encoder_index):
        output = inner(input_ids=tokens, output_hidden_states=True)
    depth = len(output.hidden_states)
    if layer.normed and layer.from_end == 1:
        features = output.last_hidden_state
    else:
        features = output.hidden_states[-min(layer.from_end, depth)]
        features = inner.final_layer_norm(features) if layer.normed else features
    projection = cast("nn.Linear | None", getattr(encoder, "text_projection", None))
    if projection is None:
        return features.float(), None
    ends = tokens.argmax(dim=-1)
    pooled = projection(output.last_hidden_state[torch.arange(len(chunks), device=tokens.device), ends])
    return features.float(), pooled.float()


def token_rows(chunks: Sequence[Chunk], pad: int) -> Tensor:
    """Token ids (B, 77) of the chunks, with everything behind the first end token replaced by `pad`.

    Raises:
        PromptError: If an embedding has more vectors than a chunk has room for.
    """
    # Not the end token of the encoder's configuration: early CLIP configurations state a wrong one.
    end = SpecialTokens().end
    rows: list[list[int]] = []
    for chunk in chunks:
        if len(chunk.tokens) > CHUNK_LENGTH + 2:
            longest = max((insertion.embedding for insertion in chunk.insertions), key=lambda e: e.vector_count)
            raise PromptError(
                f"Embedding '{longest.name}' has {longest.vector_count} vectors; a prompt has room for {CHUNK_LENGTH}."
            )
        first_end = chunk.tokens.index(end)
        rows.append([*chunk.tokens[: first_end + 1], *[pad] * (len(chunk.tokens) - first_end - 1)])
    return torch.tensor(rows, dtype=torch.long)


@contextmanager
def _embeddings_in_place(encoder: CLIPTextModel, chunks: Sequence[Chunk], encoder_index: int) -> Generator[None]:
    """While active, the token embedding layer answers with the chunks' embeddings where they are inserted."""
    if not any(chunk.insertions for chunk in chunks):
        yield
        return

    def replace(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        output = output.clone()
        for row, chunk in zip(output, chunks, strict=True):
            for insertion in chunk.insertions:
                _write(row, insertion.offset + 1, insertion.embedding, encoder_index)
        return output

    handle = encoder.embeddings.token_embedding.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def _write(row: Tensor, start: int, embedding: Embedding, encoder_index: int) -> None:
    vectors = embedding.tensors[encoder_index][: max(0, len(row) - start)]
    row[start : start + len(vectors)] = vectors.to(device=row.device, dtype=row.dtype)
