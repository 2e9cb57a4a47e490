"""Toy models of the real classes, built in a moment, and the files and folders real ones come in.

`tiny_model` makes a `LoadedModel` in memory; `save_folder` and `save_single_file` write one the way it would be
downloaded. Weights are random but reproducible. The vocabulary has its real size, so real tokenizers fit.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from pipelines.checkpoints.alphas import training_alphas
from pipelines.checkpoints.libraries import (
    AutoencoderKL,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    UNet2DConditionModel,
)
from pipelines.checkpoints.model import CheckpointInfo, Family, LoadedModel, Prediction

TEXT_WIDTH = 32
Weights = dict[str, Tensor]


def tiny_unet(family: Family = Family.SD1, *, in_channels: int = 4, widths: tuple[int, ...] = (32, 64)):
    """A UNet of the family's kind: one ResNet a level, attention in the first level (SD) or the last (SDXL)."""
    is_xl = family in (Family.SDXL, Family.SDXL_REFINER)
    with_attention = [(index > 0) == is_xl for index in range(len(widths))]
    config = {
        "sample_size": 8,
        "in_channels": in_channels,
        "block_out_channels": widths,
        "layers_per_block": 1,
        "down_block_types": ["CrossAttnDownBlock2D" if yes else "DownBlock2D" for yes in with_attention],
        "up_block_types": ["CrossAttnUpBlock2D" if yes else "UpBlock2D" for yes in reversed(with_attention)],
        "cross_attention_dim": TEXT_WIDTH * (2 if family is Family.SDXL else 1),
        "attention_head_dim": 8 if family is Family.SD1 else [max(1, width // 64) for width in widths],
        "use_linear_projection": family is not Family.SD1,
    }
    if is_xl:
        ids = 5 if family is Family.SDXL_REFINER else 6
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": TEXT_WIDTH + 8 * ids,
            "transformer_layers_per_block": [1] * (len(widths) - 1) + [2],
        }
    return UNet2DConditionModel(**config).requires_grad_(False).eval()


def tiny_vae(family: Family = Family.SD1):
    """A VAE that halves three times, as the real one."""
    is_xl = family in (Family.SDXL, Family.SDXL_REFINER)
    vae = AutoencoderKL(
        block_out_channels=(32, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        sample_size=64,
        scaling_factor=0.13025 if is_xl else 0.18215,
        force_upcast=False,
    )
    return vae.requires_grad_(False).eval()


def tiny_text_encoder(*, projects: bool = False, gelu: str = "quick_gelu", layers: int = 3):
    """A CLIP text encoder; OpenCLIP's kind has `gelu="gelu"`, SDXL's second and the refiner's also `projects`."""
    config = CLIPTextConfig(
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=1,
        projection_dim=TEXT_WIDTH,
        vocab_size=49408,
        hidden_act=gelu,
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=0 if gelu == "gelu" else 49407,
    )
    encoder = CLIPTextModelWithProjection(config) if projects else CLIPTextModel(config)
    return encoder.requires_grad_(False).eval()


def tiny_model(
    family: Family = Family.SD1,
    *,
    in_channels: int = 4,
    prediction: Prediction = Prediction.EPS,
    seed: int = 0,
    name: str = "toy",
) -> LoadedModel:
    """A complete toy model in float32 on the CPU; the same seed gives the same weights."""
    # Imported here so that tests of other parts can build toys while only using some of them.
    from pipelines.checkpoints.load import padding_tokens
    from pipelines.conditioning.tokenizer import clip_tokenizer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        open_clip = {"gelu": "gelu", "projects": family is not Family.SD2}
        encoders = {
            Family.SD1: lambda: (tiny_text_encoder(),),
            Family.SD2: lambda: (tiny_text_encoder(**open_clip),),
            Family.SDXL: lambda: (tiny_text_encoder(), tiny_text_encoder(**open_clip)),
            Family.SDXL_REFINER: lambda: (tiny_text_encoder(**open_clip),),
        }[family]()
        unet, vae = tiny_unet(family, in_channels=in_channels), tiny_vae(family)
    return LoadedModel(
        checkpoint=CheckpointInfo(path=Path(name), name=name),
        family=family,
        prediction=prediction,
        unet=unet,
        vae=vae,
        text_encoders=encoders,
        tokenizers=tuple(clip_tokenizer(pad=pad) for pad in padding_tokens(family)),
        alphas_cumprod=training_alphas(),
        unet_in_channels=in_channels,
        native_size=64,
    )


def save_folder(model: LoadedModel, path: Path) -> Path:
    """Writes the model as a diffusers folder without tokenizers and returns `path`."""
    for name, network in (("unet", model.unet), ("vae", model.vae)):
        network.save_pretrained(path / name)
    # A refiner folder has the second encoder only.
    names = ["text_encoder_2"] if model.family is Family.SDXL_REFINER else ["text_encoder", "text_encoder_2"]
    for name, encoder in zip(names, model.text_encoders, strict=False):
        encoder.save_pretrained(path / name)
    scheduler = {
        "_class_name": "DDIMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "prediction_type": "v_prediction" if model.prediction is Prediction.V else "epsilon",
    }
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    xl = "XL" if model.family in (Family.SDXL, Family.SDXL_REFINER) else ""
    (path / "model_index.json").write_text(json.dumps({"_class_name": f"StableDiffusion{xl}Pipeline"}))
    return path


def save_single_file(model: LoadedModel, path: Path, *, dtype: torch.dtype = torch.float32) -> Path:
    """Writes the model in the LDM layout, as `.safetensors` or `.ckpt` by the path's ending, and returns `path`."""
    weights = {name: value.to(dtype).contiguous() for name, value in single_file_weights(model).items()}
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"state_dict": weights, "global_step": 1}, path)
    return path


def single_file_weights(model: LoadedModel) -> Weights:
    """All weights of the model under the names of its LDM single file."""
    weights = ldm_unet_weights(model.unet) | {
        f"first_stage_model.{name}": value for name, value in ldm_vae_weights(model.vae).items()
    }
    prefixes = {
        Family.SD1: ("cond_stage_model.transformer.",),
        Family.SD2: ("cond_stage_model.model.",),
        Family.SDXL: ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."),
        Family.SDXL_REFINER: ("conditioner.embedders.0.model.",),
    }[model.family]
    for prefix, encoder in zip(prefixes, model.text_encoders, strict=True):
        named = _bare_text_weights(encoder)
        if prefix.endswith("model."):
            # An SD 2 file has one layer more than is used.
            named = _open_clip_names(named, extra_layer=model.family is Family.SD2)
        else:
            named = {f"text_model.{name}": value for name, value in named.items()}
        weights |= {prefix + name: value for name, value in named.items()}
    return {name: value.clone() for name, value in weights.items()}


def ldm_unet_weights(unet: UNet2DConditionModel) -> Weights:
    """A UNet's weights under LDM names, `model.diffusion_model.` included."""
    per_level = unet.config["layers_per_block"] + 1
    down_types, up_types = unet.config["down_block_types"], unet.config["up_block_types"]
    fixed = {
        "conv_in": "input_blocks.0.0",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
    }
    for level in range(len(down_types)):
        for layer in range(per_level - 1):
            fixed[f"down_blocks.{level}.resnets.{layer}"] = f"input_blocks.{1 + level * per_level + layer}.0"
            fixed[f"down_blocks.{level}.attentions.{layer}"] = f"input_blocks.{1 + level * per_level + layer}.1"
        fixed[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{(level + 1) * per_level}.0.op"
        for layer in range(per_level):
            fixed[f"up_blocks.{level}.resnets.{layer}"] = f"output_blocks.{level * per_level + layer}.0"
            fixed[f"up_blocks.{level}.attentions.{layer}"] = f"output_blocks.{level * per_level + layer}.1"
        place = 2 if "CrossAttn" in up_types[level] else 1
        fixed[f"up_blocks.{level}.upsamplers.0.conv"] = f"output_blocks.{(level + 1) * per_level - 1}.{place}.conv"
    inner = {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    }
    weights: Weights = {}
    for name, value in unet.state_dict().items():
        new = _replace_start(name, fixed)
        resnet = re.fullmatch(r".*\.resnets\.\d+\.(\w+)\.(?:weight|bias)", name)
        if resnet:
            new = new.replace(f".{resnet[1]}.", f".{inner[resnet[1]]}.")
        weights[f"model.diffusion_model.{new}"] = value
    return weights


def ldm_vae_weights(vae: AutoencoderKL) -> Weights:
    """A VAE's weights under LDM names, without prefix."""
    levels = len(vae.config["block_out_channels"])
    weights: Weights = {}
    for name, value in vae.state_dict().items():
        new = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", name)
        new = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", new)
        new = re.sub(r"up_blocks\.(\d+)\.", lambda found: f"up.{levels - 1 - int(found[1])}.", new)
        new = re.sub(r"(up\.\d+)\.resnets\.(\d+)", r"\1.block.\2", new).replace(".upsamplers.0.", ".upsample.")
        new = re.sub(r"mid_block\.resnets\.(\d+)", lambda found: f"mid.block_{int(found[1]) + 1}", new)
        new = new.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        if "mid_block.attentions.0." in new:
            new = new.replace("mid_block.attentions.0.", "mid.attn_1.").replace(".group_norm.", ".norm.")
            new = new.replace(".to_out.0.", ".proj_out.")
            new = re.sub(r"\.to_([qkv])\.", r".\1.", new)
            if value.ndim == 2:
                value = value[:, :, None, None]
        weights[new] = value
    return weights


def _bare_text_weights(encoder: CLIPTextModel | CLIPTextModelWithProjection) -> Weights:
    return {name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}


def _open_clip_names(weights: Weights, *, extra_layer: bool) -> Weights:
    names = {
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "final_layer_norm.": "ln_final.",
        "encoder.layers.": "transformer.resblocks.",
    }
    inner = {
        ".layer_norm1.": ".ln_1.",
        ".layer_norm2.": ".ln_2.",
        ".mlp.fc1.": ".mlp.c_fc.",
        ".mlp.fc2.": ".mlp.c_proj.",
        ".self_attn.out_proj.": ".attn.out_proj.",
    }
    converted: Weights = {}
    for name, value in weights.items():
        new = _replace_start(name, names)
        for old, replacement in inner.items():
            new = new.replace(old, replacement)
        fused = re.fullmatch(r"(.*)\.self_attn\.([qkv])_proj\.(weight|bias)", new)
        if name == "text_projection.weight":
            converted["text_projection"] = value.T
        elif not fused:
            converted[new] = value
        elif fused[2] == "q":
            parts = [weights[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            converted[f"{fused[1]}.attn.in_proj_{fused[3]}"] = torch.cat(parts)
    if extra_layer:
        last = max(int(name.split(".")[2]) for name in converted if name.startswith("transformer.resblocks."))
        converted |= {
            name.replace(f"resblocks.{last}.", f"resblocks.{last + 1}."): value
            for name, value in list(converted.items())
            if f"resblocks.{last}." in name
        }
        converted["text_projection"] = torch.eye(TEXT_WIDTH)
    return converted


def _replace_start(name: str, names: dict[str, str]) -> str:
    for old in sorted(names, key=len, reverse=True):
        if name == old or name.startswith(old if old.endswith(".") else f"{old}."):
            return names[old] + name.removeprefix(old)
    return name
