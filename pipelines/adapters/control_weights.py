"""How strongly each layer of a control network acts, in every control mode.

Source: sd-webui-controlnet scripts/hook.py, UnetHook.hook (soft weights).
"""

from __future__ import annotations

from collections.abc import Sequence

from schema.controlnet import ControlMode
from schema.errors import InvalidRequest

SOFTENING = 0.825
SD_LAYERS, XL_LAYERS = 13, 10
T2I_SOFT_WEIGHTS = (0.25, 0.62, 0.825, 1.0)


def soft_weights(layers: int) -> tuple[float, ...]:
    """One factor per output of a ControlNet, shallow to deep, the middle block last.

    13 outputs (SD 1 and 2) have 0.825^12 … 1. The 10 of SDXL have the first ten of these, so the middle block has
    0.825³. Networks of other depths end at 1 as SD's do.
    """
    top = SD_LAYERS if layers == XL_LAYERS else layers
    return tuple(SOFTENING ** (top - 1 - layer) for layer in range(layers))


def layer_weights(
    mode: ControlMode,
    weight: float,
    layers: int,
    *,
    is_t2i: bool = False,
    always_soft: bool = False,
    advanced: Sequence[float] | None = None,
) -> tuple[float, ...]:
    """What each output is multiplied by.

    Args:
        layers: Number of outputs.
        always_soft: Soft weights in the balanced mode too (line maps in the hires pass).
        advanced: Factors that replace all others, `weight` included.

    Raises:
        InvalidRequest: If `advanced` has another length.
    """
    if advanced is not None:
        if len(advanced) != layers:
            raise InvalidRequest(f"advanced_weighting: this model has {layers} layers, {len(advanced)} numbers came.")
        return tuple(advanced)
    if mode is ControlMode.BALANCED and not always_soft:
        return (weight,) * layers
    if is_t2i:
        soft = T2I_SOFT_WEIGHTS[-layers:] if layers <= len(T2I_SOFT_WEIGHTS) else soft_weights(layers)
    else:
        soft = soft_weights(layers)
    return tuple(weight * factor for factor in soft)
