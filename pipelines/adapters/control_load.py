"""Control networks from files and folders, without network access, and the few that stay loaded."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from pipelines.adapters.control_files import ControlFile, ControlKind, control_kind
from pipelines.adapters.control_lora import added_to_base, control_lora_weights, is_bound_to_base
from pipelines.adapters.control_names import bare_names, diffusers_names, fitted_config, is_ldm
from pipelines.adapters.ip_adapter import IPAdapter, build_ip_adapter, nested_tensors
from pipelines.adapters.t2i_adapter import build_t2i_adapter
from pipelines.checkpoints.build import filled
from pipelines.checkpoints.files import read_state_dict
from pipelines.checkpoints.layout import read_component, read_json
from pipelines.checkpoints.libraries import ControlNetModel, ControlNetUnionModel, T2IAdapter
from pipelines.checkpoints.model import LoadedModel
from pipelines.device import empty_cache
from schema.errors import CheckpointError

ControlModule = ControlNetModel | ControlNetUnionModel | T2IAdapter | IPAdapter


@dataclass(frozen=True, kw_only=True)
class ControlNetwork:
    """A loaded control model, on the device of the model it controls.

    Attributes:
        pools: Whether its outputs are averaged over the picture (SD 1 files with "shuffle" in their name).
        is_bound: Whether it holds weights of the base UNet.
    """

    file: ControlFile
    kind: ControlKind
    module: ControlModule
    pools: bool = False
    is_bound: bool = False


def load_control(file: ControlFile, model: LoadedModel) -> ControlNetwork:
    """The network in `file`, to control `model`: on its device, in its number format.

    Raises:
        CheckpointError: If the file cannot be read, is no control model, or was made for another family.
    """
    kind = control_kind(file)
    is_bound = False
    module: ControlModule
    if kind is ControlKind.IP_ADAPTER:
        module = build_ip_adapter(nested_tensors(file.weights), model, file.name)
    elif kind is ControlKind.T2I_ADAPTER:
        module = build_t2i_adapter(_tensors(file), model.dtype)
    else:
        weights = bare_names(_tensors(file))
        is_bound = is_bound_to_base(weights)
        module = _controlnet(file, kind, weights, model)
    _check_fit(module, model, file.name)
    pools = isinstance(module, ControlNetModel) and "shuffle" in file.stem.lower()
    placed = cast(ControlModule, nn.Module.to(module, model.device).requires_grad_(False).eval())
    return ControlNetwork(file=file, kind=kind, module=placed, pools=pools, is_bound=is_bound)


def _tensors(file: ControlFile) -> dict[str, Tensor]:
    return read_component(file.path) if file.path.is_dir() else read_state_dict(file.path)


def _controlnet(
    file: ControlFile, kind: ControlKind, weights: Mapping[str, Tensor], model: LoadedModel
) -> ControlNetModel | ControlNetUnionModel:
    base = (
        {name: value.to("cpu") for name, value in model.unet.state_dict().items()} if is_bound_to_base(weights) else {}
    )
    if kind is ControlKind.CONTROL_LORA:
        named = control_lora_weights(weights, base)
    else:
        named = diffusers_names(weights) if is_ldm(weights) else dict(weights)
        named = added_to_base(named, base) if base else named
    config: dict[str, Any]
    try:
        config = fitted_config(model.unet.config, named)
    except KeyError as error:
        raise CheckpointError(f"'{file.name}' is incomplete: {error.args[0]} is missing.") from error
    if file.path.is_dir():
        config = read_json(file.path / "config.json")
    with torch.device("meta"):
        if kind is ControlKind.UNION:
            network: Any = ControlNetUnionModel.from_config(config | _union_config(named, config))
        else:
            network = ControlNetModel.from_config(config)
    return filled(network, named, model.dtype, "ControlNet")


def _union_config(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    kinds, width = weights["task_embedding"].shape
    layers = {name.split(".")[1] for name in weights if name.startswith("transformer_layes.")}
    return {
        "num_control_type": kinds,
        "num_trans_channel": width,
        "num_trans_head": config.get("num_trans_head") or max(1, width // 40),
        "num_trans_layer": len(layers),
        "num_proj_channel": weights["spatial_ch_projs.weight"].shape[0],
    }


def _check_fit(module: ControlModule, model: LoadedModel, name: str) -> None:
    """Checks that the network can act on this UNet.

    Raises:
        CheckpointError: If it was made for another family; the message names both.
    """
    unet = model.unet.config
    if isinstance(module, ControlNetModel | ControlNetUnionModel):
        config = module.config
        made_for, here = config["cross_attention_dim"], unet["cross_attention_dim"]
        if made_for != here or list(config["block_out_channels"]) != list(unet["block_out_channels"]):
            raise CheckpointError(_misfit(name, model, _family_of(made_for)))
        if (config.get("addition_embed_type") is None) != (unet.get("addition_embed_type") is None):
            raise CheckpointError(_misfit(name, model, _family_of(made_for)))
    elif isinstance(module, T2IAdapter):
        widths = list(module.config["channels"])
        is_xl = module.config["adapter_type"] == "full_adapter_xl"
        wanted = list(unet["block_out_channels"])
        fits = widths[: len(wanted)] == wanted[: len(widths)]
        if not fits or is_xl != (unet.get("addition_embed_type") is not None):
            raise CheckpointError(_misfit(name, model, "SDXL" if is_xl else "SD1"))


def _family_of(text_width: int) -> str:
    return {768: "SD1", 1024: "SD2", 2048: "SDXL"}.get(text_width, f"models with text states of width {text_width}")


def _misfit(name: str, model: LoadedModel, made_for: str) -> str:
    return (
        f"'{name}' was made for {made_for} and cannot control '{model.checkpoint.name}', which is "
        f"{model.family.value}. "
        "Choose a control model of the checkpoint's family."
    )


_Key = tuple[Path, int]


class ControlCache:
    """The control networks used last.

    Attributes:
        limit: How many stay loaded (`control_net_model_cache_size`).

    Source: sd-webui-controlnet scripts/controlnet.py, Script.load_control_model.
    """

    def __init__(self, limit: int = 2) -> None:
        self.limit = limit
        self._networks: OrderedDict[_Key, tuple[ControlNetwork, object]] = OrderedDict()
        self._unet: weakref.ref[nn.Module] | None = None
        self._placed: tuple[torch.dtype, torch.device] | None = None

    def __len__(self) -> int:
        return len(self._networks)

    def use(self, file: ControlFile, model: LoadedModel, *, weights_key: object = None) -> ControlNetwork:
        """The network in `file` for `model`, loaded unless it is kept from before.

        Args:
            weights_key: What the base weights are changed by, for networks that hold some of them.

        Raises:
            CheckpointError: As `load_control`.
        """
        self._follow(model)
        try:
            stamp = file.weights.stat().st_mtime_ns
        except OSError as error:
            raise CheckpointError(f"'{file.name}' cannot be opened: {error.strerror or error}.") from error
        kept = self._networks.get((file.path, stamp))
        if kept is not None and (not kept[0].is_bound or kept[1] == weights_key):
            self._networks.move_to_end((file.path, stamp))
            return kept[0]
        network = load_control(file, model)
        self._networks[file.path, stamp] = network, weights_key
        while len(self._networks) > max(1, self.limit):
            self._networks.popitem(last=False)
            empty_cache(model.device)
        return network

    def clear(self) -> None:
        """Drops all networks, so that their memory is returned."""
        had_some = bool(self._networks)
        self._networks.clear()
        if had_some and self._placed is not None:
            empty_cache(self._placed[1])

    def _follow(self, model: LoadedModel) -> None:
        """Drops networks that were loaded for another checkpoint."""
        placed = model.dtype, model.device
        if self._unet is None or self._unet() is not model.unet or self._placed != placed:
            self.clear()
            self._unet, self._placed = weakref.ref(model.unet), placed
