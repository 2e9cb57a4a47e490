"""One unit in one pass: which kind of control it is, with what network and at what strength."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipelines.adapters.control_estimates import CleanEstimate, ColorFixRun, InpaintOnlyRun
from pipelines.adapters.control_files import ControlKind
from pipelines.adapters.control_load import ControlNetwork
from pipelines.adapters.control_units import ControlUnit, ControlWindow, UnitForce
from pipelines.adapters.control_weights import layer_weights
from pipelines.adapters.controlnet import ControlNetUnitRun, T2IAdapterUnitRun
from pipelines.adapters.ip_adapter import IPAdapter, IPAdapterRun, transformer_names
from pipelines.adapters.reference import ReferenceRun, style_fidelity
from pipelines.checkpoints.libraries import ControlNetModel, ControlNetUnionModel, T2IAdapter
from pipelines.checkpoints.model import Family, LoadedModel
from pipelines.control.embeddings import picture_tokens
from pipelines.control.maps import UnitMaps
from pipelines.control.plan import UnitPlan
from pipelines.latents.vae import encode
from preprocessors.weights import Runtime
from schema.controlnet import UNION_CONTROL_TYPES, ControlMode, UnionControlType
from schema.errors import InvalidRequest

MIDDLE_OUTPUTS = 1
_VAE_SEED = 0


@dataclass(frozen=True, kw_only=True)
class PassFacts:
    """What a pass tells its units.

    Attributes:
        seeds: Of the batch's pictures.
        is_hires: Whether it is the second pass of txt2img.
        repaints: Whether the job has an img2img mask.
        runtime: For picture encoders.
    """

    model: LoadedModel
    seeds: Sequence[int]
    is_hires: bool
    runtime: Runtime
    repaints: bool = False


def unit_runs(unit: UnitPlan, maps: UnitMaps, network: ControlNetwork | None, facts: PassFacts) -> list[ControlUnit]:
    """What a unit is in this pass; some are two things: residuals and a change of the estimate.

    Args:
        network: The loaded control model, or None for preprocessors that work without.

    Raises:
        InvalidRequest: If the unit's fields do not fit its model; the message names the field.
    """
    if "Reference" in unit.preprocessor.types:
        return [_reference(unit, maps, facts)]
    if network is None:
        raise InvalidRequest(f"ControlNet unit {unit.number}: model: '{unit.preprocessor.name}' needs a control model.")
    is_ip = network.kind is ControlKind.IP_ADAPTER
    if is_ip != ("IP-Adapter" in unit.preprocessor.types):
        wanted = "an IP-Adapter preprocessor" if is_ip else "another preprocessor"
        raise InvalidRequest(
            f"ControlNet unit {unit.number}: module: '{network.file.name}' does not work with "
            f"'{unit.preprocessor.name}'. Choose {wanted}."
        )
    if is_ip:
        return [ip_adapter_run(unit, maps, network, facts)]
    hint = maps.hint(is_hires=facts.is_hires).to(facts.model.device)
    main: ControlUnit
    if network.kind is ControlKind.T2I_ADAPTER:
        main = T2IAdapterUnitRun(network, hint, _force(unit, network, facts))
    else:
        main = ControlNetUnitRun(
            network,
            hint,
            _force(unit, network, facts),
            union_type=_union_number(unit, network),
            low_vram=unit.low_vram,
        )
    return [main, *_estimate_changes(unit, hint, facts)]


def ip_adapter_run(unit: UnitPlan, maps: UnitMaps, network: ControlNetwork, facts: PassFacts) -> IPAdapterRun:
    """An IP-Adapter unit, its pictures embedded.

    Raises:
        WeightsMissing: If the picture encoder is not here.
        InvalidRequest: If embeddings that came with the request cannot be used.
    """
    assert isinstance(network.module, IPAdapter)
    model = facts.model
    cond, uncond = picture_tokens(unit, maps, network.module, facts.runtime)
    names = [name for name in cast(Any, model.unet).attn_processors if name.endswith("attn2.processor")]
    layers = len(transformer_names(names))
    weights = (unit.weight,) if unit.advanced is None else unit.advanced
    if unit.advanced is not None and len(unit.advanced) != layers:
        raise InvalidRequest(
            f"ControlNet unit {unit.number}: advanced_weighting: this model has {layers} layers, "
            f"{len(unit.advanced)} numbers came."
        )
    force = UnitForce(scales=(), window=_window(unit), region=_region(unit.region))
    cond, uncond = cond.to(model.device, model.dtype), uncond.to(model.device, model.dtype)
    return IPAdapterRun(network.module, model.unet, cond, uncond, weights, force)


def _window(unit: UnitPlan) -> ControlWindow:
    return ControlWindow(start=unit.start, end=unit.end)


def _force(unit: UnitPlan, network: ControlNetwork, facts: PassFacts) -> UnitForce:
    is_t2i = network.kind is ControlKind.T2I_ADAPTER
    try:
        scales = layer_weights(
            unit.mode,
            unit.weight,
            _output_count(network),
            is_t2i=is_t2i,
            always_soft=facts.is_hires and unit.preprocessor.soft_weights_in_hires,
            advanced=unit.advanced,
        )
    except InvalidRequest as error:
        raise InvalidRequest(f"ControlNet unit {unit.number}: {error}") from error
    return UnitForce(
        scales=scales,
        cond_only=unit.mode is ControlMode.CONTROL or network.pools,
        window=_window(unit),
        region=_region(unit.region),
    )


def _output_count(network: ControlNetwork) -> int:
    module = network.module
    if isinstance(module, T2IAdapter):
        return len(module.adapter.body)
    assert isinstance(module, ControlNetModel | ControlNetUnionModel)
    return len(module.controlnet_down_blocks) + MIDDLE_OUTPUTS


def _region(region: Image.Image | None) -> Tensor | None:
    if region is None:
        return None
    return torch.from_numpy(np.asarray(region.convert("L"), np.float32) / 255)[None, None]


def _union_number(unit: UnitPlan, network: ControlNetwork) -> int | None:
    if network.kind is not ControlKind.UNION:
        return None
    if unit.union_type is UnionControlType.UNKNOWN:
        raise InvalidRequest(
            f"ControlNet unit {unit.number}: union_control_type: '{network.file.name}' must be told what its map is. "
            f"Choose one of {', '.join(UNION_CONTROL_TYPES[:-1])}."
        )
    number = list(UnionControlType).index(unit.union_type)
    assert isinstance(network.module, ControlNetUnionModel)
    known = int(network.module.config["num_control_type"])
    if number >= known:
        raise InvalidRequest(
            f"ControlNet unit {unit.number}: union_control_type: '{network.file.name}' knows {known} kinds of maps, "
            f"and '{unit.union_type.value}' is not among them."
        )
    return number


def _estimate_changes(unit: UnitPlan, hint: Tensor, facts: PassFacts) -> list[ControlUnit]:
    name, model = unit.preprocessor.name, facts.model
    is_inpaint_only = name.startswith("inpaint_only") and hint.shape[1] == 4 and not facts.repaints
    if not is_inpaint_only and not name.startswith("tile_colorfix"):
        return []
    estimate = CleanEstimate(model.alphas_cumprod, model.prediction)
    force = UnitForce(scales=(), window=_window(unit))
    original = _latents(model, hint[:, :3])
    if is_inpaint_only:
        return [InpaintOnlyRun(estimate, original, hint[:, 3:], unit.weight, force)]
    radius = int(unit.a) * (2 if facts.is_hires else 1)
    sharpness = unit.b if name.endswith("+sharp") else 0.0
    return [ColorFixRun(estimate, original, unit.weight, force, radius=radius, sharpness=sharpness)]


def _reference(unit: UnitPlan, maps: UnitMaps, facts: PassFacts) -> ReferenceRun:
    model, name = facts.model, unit.preprocessor.name
    hint = maps.hint(is_hires=facts.is_hires)[:, :3]
    return ReferenceRun(
        model.unet,
        _latents(model, hint),
        model.alphas_cumprod,
        UnitForce(scales=(), window=_window(unit)),
        seeds=facts.seeds,
        weight=unit.weight,
        fidelity=style_fidelity(
            unit.a,
            is_sdxl=model.family in (Family.SDXL, Family.SDXL_REFINER),
            control_wins=unit.mode is ControlMode.CONTROL,
            prompt_wins=unit.mode is ControlMode.PROMPT or facts.is_hires,
        ),
        attends=name in ("reference_only", "reference_adain+attn"),
        normalizes=name in ("reference_adain", "reference_adain+attn"),
    )


def _latents(model: LoadedModel, picture: Tensor) -> Tensor:
    """(1, 4, h, w) of a picture (1, 3, H, W) in 0..1."""
    return encode(model.vae, picture * 2 - 1, generator=torch.Generator().manual_seed(_VAE_SEED))
