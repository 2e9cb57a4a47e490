"""The table of noise levels a model was trained with: alphas_cumprod, 1000 entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy
import torch
from torch import Tensor

from schema.errors import CheckpointError


def training_alphas(config: Mapping[str, Any] | None = None) -> Tensor:
    """alphas_cumprod (1000,) float32 of the schedule in a diffusers scheduler `config`; without one, of SD 1 to SDXL.

    Computed in float64 and rounded once: beta = linspace(√start, √end)², alphas_cumprod = ∏(1 - beta).

    Raises:
        CheckpointError: If the schedule is of another kind.

    Source: CompVis ldm/modules/diffusionmodules/util.py, make_beta_schedule("linear").
    """
    config = config or {}
    kind = config.get("beta_schedule", "scaled_linear")
    start, end = float(config.get("beta_start", 0.00085)), float(config.get("beta_end", 0.012))
    steps = int(config.get("num_train_timesteps", 1000))
    if config.get("trained_betas") is not None:
        betas = numpy.asarray(config["trained_betas"], dtype=numpy.float64)
    elif kind == "scaled_linear":
        # torch, not numpy: their linspace differ in the last bit.
        betas = (torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2).numpy()
    elif kind == "linear":
        betas = torch.linspace(start, end, steps, dtype=torch.float64).numpy()
    else:
        raise CheckpointError(f"The noise schedule '{kind}' cannot be run; scaled_linear and linear can.")
    return torch.from_numpy(numpy.cumprod(1.0 - betas, axis=0)).float()
