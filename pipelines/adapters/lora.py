"""Puts LoRA-family networks into a loaded model's weights, and takes them out again without a trace."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from pipelines.adapters.key_maps import Component, Layer, Patchable, layers_by_key
from pipelines.adapters.lora_files import ActiveLora, LoraLibrary
from pipelines.adapters.lora_math import Parts, module_delta
from pipelines.checkpoints.model import LoadedModel
from schema.errors import WebuiError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Change:
    """What one LoRA does to one layer."""

    parts: Parts
    multiplier: float
    lora: ActiveLora


@dataclass(frozen=True, kw_only=True)
class _Original:
    """A layer's own tensors."""

    module: Patchable
    weight: Tensor
    bias: Tensor | None


class LoraPatcher:
    """One model's LoRAs: applied once for as long as the same ones are asked for.

    The layers' own tensors are kept, on the CPU when the model is on an accelerator, and put back byte for byte.
    """

    def __init__(self, model: LoadedModel, library: LoraLibrary) -> None:
        self._model = model
        self._library = library
        self._layers: dict[str, Layer] | None = None
        self._originals: list[_Original] = []
        self._comments: tuple[str, ...] = ()
        self.active: tuple[ActiveLora, ...] = ()

    def apply(self, loras: Sequence[ActiveLora]) -> tuple[str, ...]:
        """Makes `loras`, in this order, the ones in force; comments about files or layers that could not be used.

        If anything else goes wrong the model is as without LoRAs.

        Source: A1111 extensions-builtin/Lora/networks.py, network_apply_weights.
        """
        wanted = tuple(loras)
        if wanted == self.active:
            return self._comments
        self.restore()
        failed: Counter[str] = Counter()
        comments: list[str] = []
        try:
            for layer, changes in self._changes(wanted, comments):
                self._patch(layer.module, changes, failed)
        except BaseException:
            self.restore()
            raise
        comments += [f"LoRA {name}: {count} layers have another shape in this model" for name, count in failed.items()]
        self.active, self._comments = wanted, tuple(comments)
        return self._comments

    def restore(self) -> None:
        """Puts every layer's own tensors back."""
        for original in self._originals:
            _put(original.module, original.weight, original.bias)
        self._originals, self.active, self._comments = [], (), ()

    def _changes(self, loras: Sequence[ActiveLora], comments: list[str]) -> Iterator[tuple[Layer, list[_Change]]]:
        """Per layer, what the LoRAs do to it in their order."""
        if self._layers is None:
            self._layers = layers_by_key(self._model)
        by_key: dict[int, tuple[Layer, list[_Change]]] = {}
        for lora in loras:
            try:
                tensors = self._library.tensors(lora.file)
            except WebuiError as error:
                comments.append(f"LoRA {lora.spec.name} is left out: {error}")
                continue
            unknown = 0
            for key, parts in tensors.layers.items():
                layer = self._layers.get(key)
                if layer is None:
                    unknown += 1
                    continue
                is_unet = layer.component is Component.UNET
                change = _Change(parts=parts, multiplier=lora.spec.unet if is_unet else lora.spec.te, lora=lora)
                by_key.setdefault(id(layer.module), (layer, []))[1].append(change)
            if unknown:
                _log.info("LoRA %s: %d of %d layers are not in the model", lora.spec.name, unknown, len(tensors.layers))
            if tensors.layers and unknown == len(tensors.layers):
                comments.append(f"LoRA {lora.spec.name} is for another kind of model")
        yield from by_key.values()

    @torch.no_grad()
    def _patch(self, module: Patchable, changes: Sequence[_Change], failed: Counter[str]) -> None:
        weight, bias = module.weight.data, None if module.bias is None else module.bias.data
        new_weight, new_bias = weight, bias
        for change in changes:
            try:
                new_weight, new_bias = self._changed(new_weight, new_bias, change)
            except RuntimeError as error:
                _log.warning("LoRA %s does not fit a layer: %s", change.lora.spec.name, error)
                failed[change.lora.spec.name] += 1
        if new_weight is weight and new_bias is bias:
            return
        self._originals.append(
            _Original(module=module, weight=_kept(weight), bias=None if bias is None else _kept(bias))
        )
        _put(module, new_weight, new_bias)

    def _changed(self, weight: Tensor, bias: Tensor | None, change: _Change) -> tuple[Tensor, Tensor | None]:
        """Weight and bias with one LoRA added, rounded to the weight's dtype."""
        # float16 as A1111 computes in it; bfloat16 has too few digits for the product of the matrices.
        dtype = torch.float16 if self._model.dtype is torch.float16 else torch.float32
        delta = module_delta(change.parts, weight, multiplier=change.multiplier, dyn=change.lora.spec.dyn, dtype=dtype)
        if delta is None:
            raise RuntimeError(f"unknown kind of network: {sorted(change.parts)}")
        added = _widened(delta.weight, weight)
        new_weight = (weight.to(added.dtype) + added).to(weight.dtype)
        if delta.bias is None:
            return new_weight, bias
        new_bias = delta.bias if bias is None else bias + delta.bias
        return new_weight, new_bias.to(weight.dtype if bias is None else bias.dtype)


def _widened(delta: Tensor, weight: Tensor) -> Tensor:
    """`delta` with zeros for input channels that only an inpainting or edit model's first convolution has."""
    if delta.ndim == 4 and delta.shape[1] < weight.shape[1] in (8, 9):
        return nn.functional.pad(delta, (0, 0, 0, 0, 0, weight.shape[1] - delta.shape[1]))
    return delta


def _kept(tensor: Tensor) -> Tensor:
    """The tensor itself on the CPU, else a copy there: accelerator memory is scarce."""
    return tensor if tensor.device.type == "cpu" else tensor.cpu()


def _put(module: Patchable, weight: Tensor, bias: Tensor | None) -> None:
    own_bias = cast("nn.Parameter | None", module.bias)
    _assign(cast("nn.Parameter", module.weight), weight)
    if bias is None:
        module.register_parameter("bias", None)
    elif own_bias is None:
        module.register_parameter("bias", nn.Parameter(bias, requires_grad=False))
    else:
        _assign(own_bias, bias)


@torch.no_grad()
def _assign(parameter: nn.Parameter, tensor: Tensor) -> None:
    """On the CPU the tensor takes the place of the other, which may be mapped from a file; elsewhere it is copied."""
    if parameter.device.type == "cpu":
        parameter.data = tensor
    else:
        parameter.data.copy_(tensor)


@contextmanager
def patched(model: LoadedModel, loras: Sequence[ActiveLora], library: LoraLibrary) -> Generator[tuple[str, ...]]:
    """While active, `model` has `loras` in its weights; yields comments about what could not be applied."""
    patcher = LoraPatcher(model, library)
    try:
        yield patcher.apply(loras)
    finally:
        patcher.restore()
