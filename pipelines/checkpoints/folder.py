"""Reads the parts of a diffusers folder."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from pipelines.checkpoints.alphas import training_alphas
from pipelines.checkpoints.build import build_text_encoder, build_unet, build_vae
from pipelines.checkpoints.convert import vae_weights
from pipelines.checkpoints.detect import Detected, read_json
from pipelines.checkpoints.files import read_state_dict
from pipelines.checkpoints.parts import Parts
from pipelines.device import DevicePolicy
from schema.errors import CheckpointError

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


def load_folder(path: Path, found: Detected, policy: DevicePolicy, *, with_vae: bool) -> Parts:
    """The networks of a diffusers folder, on the CPU; `with_vae` is off where another VAE replaces its own.

    Raises:
        CheckpointError: If a part is missing or damaged.
    """
    encoders = [path / name for name in ("text_encoder", "text_encoder_2") if (path / name).is_dir()]
    if not encoders:
        raise CheckpointError(f"'{path.name}' has no text encoder.")
    has_vae = with_vae and (path / "vae").is_dir()
    vae_config = read_json(path / "vae" / "config.json") if has_vae else {}
    return Parts(
        unet=build_unet(read_json(path / "unet" / "config.json"), read_component(path / "unet"), policy.dtype),
        vae=build_vae(vae_config, vae_weights(read_component(path / "vae"), vae_config), policy.vae_dtype)
        if has_vae
        else None,
        text_encoders=tuple(
            build_text_encoder(read_json(folder / "config.json"), read_component(folder), policy.dtype)
            for folder in encoders
        ),
        alphas_cumprod=training_alphas(read_json(path / "scheduler" / "scheduler_config.json")),
    )
