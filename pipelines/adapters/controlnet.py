"""Control networks at work: what they add inside the UNet at each call.

Source: sd-webui-controlnet scripts/hook.py, UnetHook.hook; Zhang et al. 2023, "Adding Conditional Control to
Text-to-Image Diffusion Models".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.adapters.control_load import ControlNetwork
from pipelines.adapters.control_units import UnchangedUNet, UnitForce
from pipelines.adapters.t2i_adapter import adapter_features
from pipelines.checkpoints.libraries import ControlNetModel, ControlNetUnionModel, T2IAdapter
from pipelines.sampling.types import ConditioningBatch, ControlResiduals

LATENT_CHANNELS = 4
HALF = 0.5
_XL_HALVINGS = (1, 1, 2, 2)


class ControlNetUnitRun(UnchangedUNet):
    """A ControlNet or union network with its map.

    Args:
        hint: (1, C, H, W) in 0..1, or (1, 4, H, W) whose last channel is an inpaint mask.
        union_type: Number of the map's kind, for union networks.
        low_vram: Keep the network on the CPU between its calls.
    """

    def __init__(
        self,
        network: ControlNetwork,
        hint: Tensor,
        force: UnitForce,
        *,
        union_type: int | None = None,
        low_vram: bool = False,
    ) -> None:
        assert isinstance(network.module, ControlNetModel | ControlNetUnionModel)
        self.network, self.force = network, force
        self._module = network.module
        self._hint, self._union_type, self._low_vram = hidden_in_mask(hint), union_type, low_vram
        self._embedded: tuple[tuple[int, int], Tensor] | None = None

    def residuals(self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch) -> ControlResiduals | None:
        """The network's outputs for latents `x` (N, 4 or more, h, w), scaled; rows it does not act on get zeros."""
        pools = self.network.pools
        if self._low_vram:
            nn.Module.to(self._module, x.device)
        try:
            outputs = self._outputs(x[:, :LATENT_CHANNELS], timestep, conditioning)
        finally:
            if self._low_vram:
                nn.Module.to(self._module, "cpu")
        scaled = self.force.scaled(outputs, conditioning, pools=pools)
        return ControlResiduals(down=tuple(scaled[:-1]), mid=scaled[-1])

    def _outputs(self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch) -> list[Tensor]:
        module = self._module
        dtype = module.dtype
        time = timestep.to(dtype) if dtype is torch.float16 else timestep.float()
        arguments: dict[str, Any] = {}
        if conditioning.pooled is not None and conditioning.time_ids is not None:
            arguments["added_cond_kwargs"] = {
                "text_embeds": conditioning.pooled.to(x.device, dtype),
                "time_ids": conditioning.time_ids.to(x.device, torch.float32),
            }
        states = conditioning.cross_attention.to(x.device, dtype)
        hint = self._fitted_hint(x).to(x.device, dtype)
        if isinstance(module, ControlNetUnionModel):
            assert self._union_type is not None
            kinds = torch.zeros(x.shape[0], int(module.config["num_control_type"]), device=x.device, dtype=dtype)
            kinds[:, self._union_type] = 1
            arguments |= {"control_type": kinds, "control_type_idx": [self._union_type]}
            down, mid = module(
                x.to(dtype),
                time.to(x.device),
                states,
                [hint.expand(x.shape[0], -1, -1, -1)],
                return_dict=False,
                **arguments,
            )
        else:
            with kept_features(module, self._features(module, hint)):
                down, mid = module(x.to(dtype), time.to(x.device), states, hint, return_dict=False, **arguments)
        return [*down, mid]

    def _fitted_hint(self, x: Tensor) -> Tensor:
        """The map at eight times the latents' size; others are fitted by nearest neighbours."""
        size = (x.shape[2] * 8, x.shape[3] * 8)
        return self._hint if self._hint.shape[-2:] == size else functional.interpolate(self._hint, size=size)

    def _features(self, module: ControlNetModel, hint: Tensor) -> Tensor:
        """The map's features; the same at every step, so computed at the first."""
        size = (int(hint.shape[2]), int(hint.shape[3]))
        if self._embedded is None or self._embedded[0] != size:
            embed: Callable[[Tensor], Tensor] = module.controlnet_cond_embedding
            self._embedded = size, embed(hint)
        return self._embedded[1]


class _Given(nn.Module):
    """Answers with features made before."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self._features = features

    def forward(self, hint: Tensor) -> Tensor:
        """The features, whatever the map."""
        return self._features


class kept_features(AbstractContextManager[None]):  # noqa: N801 - used as a verb in `with`
    """Inside the block `module` takes `features` for those of its map."""

    def __init__(self, module: ControlNetModel, features: Tensor) -> None:
        self._module, self._features = module, features
        self._embedding = module.controlnet_cond_embedding

    def __enter__(self) -> None:
        self._module.register_module("controlnet_cond_embedding", _Given(self._features))

    def __exit__(self, *error: object) -> None:
        self._module.register_module("controlnet_cond_embedding", self._embedding)


class T2IAdapterUnitRun(UnchangedUNet):
    """A T2I-Adapter with its map: features made once, added to the UNet's blocks at every call."""

    def __init__(self, network: ControlNetwork, hint: Tensor, force: UnitForce) -> None:
        assert isinstance(network.module, T2IAdapter)
        self.network, self.force = network, force
        self._module, self._hint = network.module, hint[:, :3]
        self._made: tuple[Tensor, ...] | None = None

    def residuals(self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch) -> ControlResiduals | None:
        """The features for latents `x`, scaled."""
        if self._made is None:
            self._made = self._features(x)
        rows = [part.expand(x.shape[0], -1, -1, -1) for part in self._made]
        return ControlResiduals(inner=tuple(self.force.scaled(rows, conditioning, pools=False)))

    def _features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The map's features at the sizes of the UNet's levels; maps of odd sizes are fitted by nearest neighbours."""
        factor = self._module.total_downscale_factor
        size = [math.ceil(8 * side / factor) * factor for side in x.shape[-2:]]
        hint = self._hint.to(x.device)
        if list(hint.shape[-2:]) != size:
            hint = functional.interpolate(hint, size=size)
        made = adapter_features(self._module, hint)
        halvings = _XL_HALVINGS if self._module.config["adapter_type"] == "full_adapter_xl" else range(len(made))
        fitted: list[Tensor] = []
        for part, count in zip(made, halvings, strict=True):
            wanted = [math.ceil(side / 2**count) for side in x.shape[-2:]]
            fitted.append(part if list(part.shape[-2:]) == wanted else functional.interpolate(part, size=wanted))
        return tuple(fitted)


def hidden_in_mask(hint: Tensor) -> Tensor:
    """A map with an inpaint mask as what inpaint ControlNets see: masked pixels are -1.

    Args:
        hint: (1, 3, H, W), or (1, 4, H, W) with the mask last, 1 = repaint.

    Returns:
        (1, 3, H, W).

    Source: sd-webui-controlnet scripts/hook.py, UnetHook.hook (inpaint mask).
    """
    if hint.shape[1] != 4:
        return hint
    mask = (hint[:, 3:] > HALF).to(hint)
    return hint[:, :3] * (1 - mask) - mask
