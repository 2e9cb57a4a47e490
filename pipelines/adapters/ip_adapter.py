"""IP-Adapters: a picture's embedding seen by the UNet beside the text.

Source: Ye et al. 2023, "IP-Adapter: Text Compatible Image Prompt Adapter", eq. 5: attention to the text plus weight
times attention, with the same queries, to the picture's tokens.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.adapters.control_units import UnchangedUNet, UnitForce
from pipelines.checkpoints.files import read_pickle, read_state_dict
from pipelines.checkpoints.libraries import UNet2DConditionModel
from pipelines.checkpoints.model import LoadedModel
from pipelines.sampling.types import ConditioningBatch, ControlResiduals
from schema.errors import CheckpointError

_FACE_ID = "an IP-Adapter for faces, which needs a face recognition model that this program does not have yet"


def nested_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, those of a pickle's inner dictionaries as "outer.inner".

    Raises:
        CheckpointError: If it cannot be read.
    """
    if path.suffix.casefold() == ".safetensors":
        return read_state_dict(path)
    content = read_pickle(path)
    found: dict[str, Tensor] = {}
    for name, value in cast(Mapping[str, Any], content).items() if isinstance(content, Mapping) else ():
        if isinstance(value, Tensor):
            found[name] = value
        elif isinstance(value, Mapping):
            inner = cast(Mapping[str, Any], value)
            found |= {f"{name}.{key}": item for key, item in inner.items() if isinstance(item, Tensor)}
    return found


class IPAdapter(nn.Module):
    """An adapter's own layers.

    Attributes:
        projection: The encoder's output → tokens of the text states' width.
        keys, values: One layer per cross-attention of the UNet, in the order of `cross_attentions`.
        uses_hidden_states: Whether the projection reads the encoder's last but one layer, not its summary.
        image_width: Width of what the projection reads; tells the encoder.
    """

    def __init__(self, projection: nn.Module, pairs: Sequence[tuple[Tensor, Tensor]], *, uses_hidden_states: bool):
        super().__init__()
        self.projection = projection
        self.keys = nn.ParameterList([nn.Parameter(key, requires_grad=False) for key, _ in pairs])
        self.values = nn.ParameterList([nn.Parameter(value, requires_grad=False) for _, value in pairs])
        self.uses_hidden_states = uses_hidden_states
        self.image_width = 0

    def tokens(self, embedding: Tensor) -> Tensor:
        """(N, T, D) of an embedding, (N, width) or (N, tokens, width)."""
        first = next(self.projection.parameters())
        return self.projection(embedding.to(first.device, first.dtype))


def build_ip_adapter(weights: Mapping[str, Tensor], model: LoadedModel, name: str) -> IPAdapter:
    """The adapter with these weights, to be used with `model`, on the CPU.

    Raises:
        CheckpointError: If it is for faces, incomplete, or made for another family.
    """
    projection = {key.removeprefix("image_proj."): v for key, v in weights.items() if key.startswith("image_proj.")}
    layers = {key.removeprefix("ip_adapter."): v for key, v in weights.items() if key.startswith("ip_adapter.")}
    if not projection or not layers:
        raise CheckpointError(f"'{name}' is incomplete: an IP-Adapter has image_proj and ip_adapter tensors.")
    is_face = "perceiver_resampler.proj_in.weight" in projection or any("lora" in key for key in layers)
    if is_face or ("proj.2.weight" in projection and "proj.3.weight" not in projection):
        raise CheckpointError(f"'{name}' is {_FACE_ID}.")
    numbers = sorted({int(key.split(".")[0]) for key in layers})
    attentions = cross_attentions(model.unet)
    try:
        pairs = [(layers[f"{n}.to_k_ip.weight"], layers[f"{n}.to_v_ip.weight"]) for n in numbers]
    except KeyError as error:
        raise CheckpointError(f"'{name}' is incomplete: ip_adapter.{error.args[0]} is missing.") from error
    shapes = [tuple(attention.to_k.weight.shape) for attention in attentions]
    if [tuple(key.shape) for key, _ in pairs] != shapes:
        raise CheckpointError(
            f"'{name}' was made for another family and cannot be used with '{model.checkpoint.name}', which is "
            f"{model.family.value}. Choose an IP-Adapter of the checkpoint's family."
        )
    # diffusers tells the projection's architecture by its tensors.
    make: Any = cast(Any, model.unet)._convert_ip_adapter_image_proj_to_diffusers
    network: nn.Module = make(projection, low_cpu_mem_usage=False)
    typed = [(key.to(model.dtype), value.to(model.dtype)) for key, value in pairs]
    adapter = IPAdapter(network.to(model.dtype), typed, uses_hidden_states="proj.weight" not in projection)
    adapter.image_width = _image_width(projection)
    return adapter


def _image_width(projection: Mapping[str, Tensor]) -> int:
    for name in ("proj.weight", "proj.0.weight", "proj_in.weight"):
        if name in projection:
            return int(projection[name].shape[1])
    raise CheckpointError("The IP-Adapter's projection is of an unknown kind.")


def cross_attentions(unet: UNet2DConditionModel) -> list[Any]:
    """The UNet's cross-attentions in the order of its processors, which the files' numbers follow."""
    names = [name.removesuffix(".processor") for name in cast(Any, unet).attn_processors]
    return [unet.get_submodule(name) for name in names if name.endswith("attn2")]


@dataclass(kw_only=True)
class _Tokens:
    """What all attentions of one unit share.

    Attributes:
        rows: (N, T, D), the tokens of the rows of the call under way; None while the unit rests.
        size: (h, w) of the latents.
    """

    rows: Tensor | None = None
    size: tuple[int, int] = (1, 1)
    region: Tensor | None = field(default=None)


class _ImageAttention:
    """A cross-attention processor that adds attention to the picture's tokens."""

    def __init__(self, inner: Any, shared: _Tokens, key: Tensor, value: Tensor, weight: float) -> None:
        self._inner, self._shared = inner, shared
        self._key, self._value, self._weight = key, value, weight

    def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        output: Tensor = self._inner(attn, hidden_states, *args, **kwargs)
        tokens = self._shared.rows
        if tokens is None:
            return output
        seen = self._seen(attn, hidden_states, tokens.to(hidden_states))
        # The output projection is linear, so what is added before it may be projected and added after it.
        return output + functional.linear(seen * self._weight, attn.to_out[0].weight)

    def _seen(self, attn: Any, hidden_states: Tensor, tokens: Tensor) -> Tensor:
        def heads(states: Tensor) -> Tensor:
            return states.view(states.shape[0], states.shape[1], attn.heads, -1).transpose(1, 2)

        query = heads(attn.to_q(hidden_states))
        key = heads(functional.linear(tokens, self._key.to(tokens)))
        value = heads(functional.linear(tokens, self._value.to(tokens)))
        seen = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        region = self._shared.region
        return seen if region is None else seen * self._mask(region, hidden_states.shape[1]).to(seen)

    def _mask(self, region: Tensor, count: int) -> Tensor:
        """(1, count, 1): the region at this layer's resolution."""
        rows, columns = self._shared.size
        for halvings in range(6):
            size = math.ceil(rows / 2**halvings), math.ceil(columns / 2**halvings)
            if size[0] * size[1] == count:
                return functional.interpolate(region, size=size, mode="bilinear").flatten(2).transpose(1, 2)
        raise AssertionError(f"{count} tokens fit no level of {rows}x{columns} latents")


class IPAdapterRun(UnchangedUNet):
    """An IP-Adapter with its picture's tokens in one pass.

    Args:
        cond, uncond: (1, T, D), for rows of prompts and of negative prompts.
        weights: One factor per transformer of the UNet (encoder, middle, decoder), or a single one for all.
    """

    def __init__(
        self,
        adapter: IPAdapter,
        unet: UNet2DConditionModel,
        cond: Tensor,
        uncond: Tensor,
        weights: Sequence[float],
        force: UnitForce,
    ) -> None:
        self.force = force
        self._adapter, self._unet, self._cond, self._uncond = adapter, unet, cond, uncond
        self._weights = tuple(weights)
        self._shared = _Tokens(region=force.region)

    def installed(self) -> AbstractContextManager[None]:
        """The UNet with the adapter's layers beside its cross-attentions; taken off again on exit."""
        return self._installed()

    @contextmanager
    def _installed(self) -> Generator[None]:
        names = [name for name in cast(Any, self._unet).attn_processors if name.endswith("attn2.processor")]
        factors = layer_factors(names, self._weights)
        layers = zip(cross_attentions(self._unet), self._adapter.keys, self._adapter.values, factors, strict=True)
        with ExitStack() as stack:
            for attention, key, value, factor in layers:
                inner = attention.processor
                attention.processor = _ImageAttention(inner, self._shared, key, value, factor)
                stack.callback(setattr, attention, "processor", inner)
            yield

    def residuals(self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch) -> ControlResiduals | None:
        """Nothing; lets the attentions see the tokens during this call."""
        rows = [self._uncond if is_uncond else self._cond for is_uncond in conditioning.is_uncond]
        self._shared.rows = torch.cat(rows)
        self._shared.size = int(x.shape[2]), int(x.shape[3])
        return None

    def adjusted(self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch, output: Tensor) -> Tensor:
        """`output` itself; the attentions see text alone again."""
        self._shared.rows = None
        return output


def transformer_names(names: Sequence[str]) -> list[str]:
    """The transformers that the attention processors `names` belong to: encoder, middle, decoder."""
    owners = list(dict.fromkeys(name.partition(".transformer_blocks.")[0] for name in names))
    parts = ("down_blocks.", "mid_block.", "up_blocks.")
    return sorted(owners, key=lambda owner: next(place for place, part in enumerate(parts) if owner.startswith(part)))


def layer_factors(names: Sequence[str], weights: Sequence[float]) -> list[float]:
    """The factor of every cross-attention; `weights` is one for all, or one per transformer."""
    if len(weights) == 1:
        return [weights[0]] * len(names)
    by_owner = dict(zip(transformer_names(names), weights, strict=True))
    return [by_owner[name.partition(".transformer_blocks.")[0]] for name in names]
