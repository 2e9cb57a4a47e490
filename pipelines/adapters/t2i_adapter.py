"""T2I-Adapters from their files: features of a control map, computed once for a pass.

Source: Mou et al. 2023, "T2I-Adapter: Learning Adapters to Dig Out More Controllable Ability".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from pipelines.checkpoints.build import filled
from pipelines.checkpoints.libraries import T2IAdapter
from pipelines.checkpoints.shapes import count

_FULL_FACTOR, _XL_FACTOR = 8, 16


def build_t2i_adapter(weights: Mapping[str, Tensor], dtype: torch.dtype) -> T2IAdapter:
    """The adapter with these weights, in its authors' names or in diffusers', on the CPU.

    Raises:
        CheckpointError: If tensors are missing or do not fit.
    """
    named = _named({name.removeprefix("adapter."): value for name, value in weights.items()})
    config = _config(named)
    with torch.device("meta"):
        adapter = cast(T2IAdapter, T2IAdapter.from_config(config))
    return filled(adapter, {f"adapter.{name}": value for name, value in named.items()}, dtype, "T2I-Adapter")


def _config(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    blocks = count(weights, "body.")
    inner = {"num_res_blocks": count(weights, "body.0.resnets.")}
    if "conv_in.weight" not in weights:
        widths = [weights[f"body.{block}.out_conv.weight"].shape[0] for block in range(blocks - 1)]
        channels = weights["body.0.in_conv.weight"].shape[1] // _FULL_FACTOR**2
        return inner | {"adapter_type": "light_adapter", "channels": widths, "in_channels": channels}
    widths = [weights[f"body.{block}.resnets.0.block1.weight"].shape[0] for block in range(blocks)]
    inputs = weights["conv_in.weight"].shape[1]
    # An XL adapter folds 16 x 16 pixels into channels, the others 8 x 8; maps have one or three channels.
    is_xl = inputs in (_XL_FACTOR**2, 3 * _XL_FACTOR**2)
    factor = _XL_FACTOR if is_xl else _FULL_FACTOR
    return inner | {
        "adapter_type": "full_adapter_xl" if is_xl else "full_adapter",
        "channels": widths,
        "in_channels": inputs // factor**2,
        "downscale_factor": factor,
    }


def _named(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under diffusers' names without `adapter.`; the authors' full adapters number all ResNets in one row."""
    if any(".resnets." in name for name in weights):
        return dict(weights)
    if any(re.match(r"body\.\d+\.body\.", name) for name in weights):
        return {re.sub(r"^(body\.\d+)\.body\.", r"\1.resnets.", name): value for name, value in weights.items()}
    per_level = _resnets_per_level(weights)

    def renamed(name: str) -> str:
        found = re.match(r"body\.(\d+)\.(.*)", name)
        if found is None:
            return name
        level, place = divmod(int(found[1]), per_level)
        inner = found[2] if found[2].startswith("in_conv.") else f"resnets.{place}.{found[2]}"
        return f"body.{level}.{inner}"

    return {renamed(name): value for name, value in weights.items()}


def _resnets_per_level(weights: Mapping[str, Tensor]) -> int:
    """ResNets of a level, told by where the width first changes; the published adapters have two."""
    first = min((int(name.split(".")[1]) for name in weights if ".in_conv." in name), default=2)
    return first or 2


def adapter_features(adapter: T2IAdapter, control_map: Tensor) -> tuple[Tensor, ...]:
    """The features of `control_map` (1, 3, H, W) in 0..1; an adapter with one input channel sees the first.

    Returns:
        One (1, C, h, w) per level of the UNet.
    """
    channels = int(cast(Any, adapter.config)["in_channels"])
    return tuple(adapter(control_map[:, :channels].to(adapter.dtype)))
