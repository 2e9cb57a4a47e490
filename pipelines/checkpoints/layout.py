"""Where configurations and weights are: in diffusers folders, and the configurations we ship for single files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from pipelines.checkpoints.files import read_state_dict
from pipelines.checkpoints.model import Family
from schema.errors import CheckpointError

_CONFIGS = Path(__file__).parent / "configs"
_CONFIG_FOLDERS = {Family.SD1: "sd1", Family.SD2: "sd2", Family.SDXL: "sdxl", Family.SDXL_REFINER: "refiner"}

# In order of preference; the fp16 variants hold the same weights rounded.
_WEIGHT_FILES = (
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "model.fp16.safetensors",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
    "diffusion_pytorch_model.fp16.bin",
    "pytorch_model.fp16.bin",
)


def weight_files(component: Path) -> list[Path]:
    """The weight files of one component folder (several where it is sharded).

    Raises:
        CheckpointError: If there are none.
    """
    for name in _WEIGHT_FILES:
        if (component / name).is_file():
            return [component / name]
    for index in sorted(component.glob("*.index*.json")):
        shards = sorted({component / Path(str(name)).name for name in read_json(index).get("weight_map", {}).values()})
        if shards and all(shard.is_file() for shard in shards):
            return shards
    raise CheckpointError(f"'{component.parent.name}/{component.name}' holds no weights.")


def read_component(component: Path) -> dict[str, Tensor]:
    """The weights of one component folder.

    Raises:
        CheckpointError: If there are none or they are damaged.
    """
    weights: dict[str, Tensor] = {}
    for path in weight_files(component):
        weights |= read_state_dict(path)
    return weights


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        CheckpointError: If the file is missing or holds none.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"'{path.parent.name}/{path.name}' cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"'{path.parent.name}/{path.name}' holds no JSON object.")
    return content


def family_config(family: Family, component: str) -> dict[str, Any]:
    """The configuration we ship for a component ("unet", "vae", "text_encoder", "text_encoder_2") of a family."""
    return read_json(_CONFIGS / _CONFIG_FOLDERS[family] / f"{component}.json")
