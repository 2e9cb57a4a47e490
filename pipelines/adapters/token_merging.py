"""Token merging: similar tokens share one self-attention computation.

Source: Bolya & Hoffman, "Token Merging for Fast Stable Diffusion" (2023), section 4; merging in self-attention only, at
full latent resolution, destination fixed at the top left of each 2x2 cell, as A1111 uses it
(modules/sd_models.py, apply_token_merging).
"""

import functools
import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor

CELL = 2
"""Side of the square of tokens that share one destination."""


@dataclass(frozen=True, kw_only=True)
class TokenMatching:
    """Which tokens are merged into which.

    Attributes:
        source: (B, N - D) indices of the tokens that are not destinations.
        destination: (D,) indices of the destinations.
        kept: (B, K) positions within `source` that stay on their own.
        merged: (B, R) positions within `source` that are merged.
        target: (B, R) position within `destination` that each merged token goes to.
    """

    source: Tensor
    destination: Tensor
    kept: Tensor
    merged: Tensor
    target: Tensor

    def merge(self, tokens: Tensor) -> Tensor:
        """(B, N, C) to (B, N - R, C): kept tokens first, then the destinations as means of what they took in."""
        source, destination = tokens[:, self.source], tokens[:, self.destination]
        channels = tokens.shape[-1]
        kept = source.gather(1, _wide(self.kept, channels))
        merged = source.gather(1, _wide(self.merged, channels))
        means = destination.scatter_reduce(1, _wide(self.target, channels), merged, reduce="mean")
        return torch.cat([kept, means], dim=1)

    def unmerge(self, tokens: Tensor) -> Tensor:
        """(B, N - R, C) to (B, N, C): merged tokens get a copy of their destination."""
        batch, _, channels = tokens.shape
        kept, destination = tokens.split([self.kept.shape[1], len(self.destination)], dim=1)
        source = tokens.new_empty(batch, len(self.source), channels)
        source.scatter_(1, _wide(self.kept, channels), kept)
        source.scatter_(1, _wide(self.merged, channels), destination.gather(1, _wide(self.target, channels)))
        whole = tokens.new_empty(batch, len(self.source) + len(self.destination), channels)
        whole[:, self.source] = source
        whole[:, self.destination] = destination
        return whole


def _wide(indices: Tensor, channels: int) -> Tensor:
    return indices[..., None].expand(-1, -1, channels)


def match_tokens(tokens: Tensor, *, width: int, height: int, ratio: float) -> TokenMatching:
    """Chooses the `ratio` share of tokens that are most similar to a destination.

    Args:
        tokens: (B, height·width, C); similarity is the cosine between rows.
        ratio: Share of all tokens to merge, 0 to 1.
    """
    count = height * width
    grid = torch.zeros(height, width, dtype=torch.bool, device=tokens.device)
    grid[: height // CELL * CELL : CELL, : width // CELL * CELL : CELL] = True
    is_destination = grid.flatten()
    source, destination = (~is_destination).nonzero()[:, 0], is_destination.nonzero()[:, 0]
    unit = tokens / tokens.norm(dim=-1, keepdim=True)
    similarity, target = (unit[:, source] @ unit[:, destination].transpose(-1, -2)).max(dim=-1)
    order = similarity.argsort(dim=-1, descending=True)
    merged = order[:, : min(len(source), int(count * ratio))]
    return TokenMatching(
        source=source,
        destination=destination,
        kept=order[:, merged.shape[1] :],
        merged=merged,
        target=target.gather(1, merged),
    )


@contextmanager
def merged_tokens(unet: UNet2DConditionModel, ratio: float) -> Generator[None]:
    """Within the block, `unet`'s self-attention at full latent resolution works on merged tokens.

    Args:
        ratio: Share of tokens to merge; 0 changes nothing.
    """
    if ratio <= 0:
        yield
        return
    size: list[int] = [0, 0]
    handles = [unet.register_forward_pre_hook(functools.partial(_remember_size, size), with_kwargs=True)]
    blocks = [module for module in unet.modules() if isinstance(module, BasicTransformerBlock)]
    try:
        for block in blocks:
            matching: list[TokenMatching | None] = [None]
            choose = functools.partial(_choose_tokens, size, ratio, matching)
            handles.append(block.register_forward_pre_hook(choose, with_kwargs=True))
            attention: Any = block.attn1
            attention.forward = functools.partial(_merged_attention, attention.forward, matching)
        yield
    finally:
        for handle in handles:
            handle.remove()
        for block in blocks:
            block.attn1.__dict__.pop("forward", None)


def _remember_size(size: list[int], module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    sample = args[0] if args else kwargs["sample"]
    size[:] = sample.shape[-2:]


def _choose_tokens(
    size: list[int],
    ratio: float,
    matching: list[TokenMatching | None],
    module: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    tokens: Tensor = args[0] if args else kwargs["hidden_states"]
    height, width = size
    downsample = math.ceil(math.sqrt(height * width // tokens.shape[1]))
    matching[0] = match_tokens(tokens, width=width, height=height, ratio=ratio) if downsample <= 1 else None


def _merged_attention(
    attend: Callable[..., Tensor], matching: list[TokenMatching | None], tokens: Tensor, *args: Any, **kwargs: Any
) -> Tensor:
    match = matching[0]
    if match is None:
        return attend(tokens, *args, **kwargs)
    return match.unmerge(attend(match.merge(tokens), *args, **kwargs))
