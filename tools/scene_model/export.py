"""Writes the trained networks in half precision: diffusers folders, and plain tensors for depth and pose."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler
from safetensors.torch import save_file
from transformers import CLIPTextModel

from tools.scene_model.networks import (
    BEGIN_TOKEN,
    CLIP_VOCABULARY_SIZE,
    END_TOKEN,
    NetworkSizes,
    build_text_encoder,
)
from tools.scene_model.tokens import compact_vocabulary
from tools.scene_model.train_control import load_controlnet
from tools.scene_model.train_maps import load_map
from tools.scene_model.train_text import load_text_encoder
from tools.scene_model.train_unet import SCHEDULE, load_unet
from tools.scene_model.train_vae import load_vae

_MODEL_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": [None, None],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def full_text_encoder(folder: Path, sizes: NetworkSizes) -> CLIPTextModel:
    """Returns the text encoder over CLIP's whole vocabulary; words it never saw all share one neutral vector."""
    compact = load_text_encoder(folder, sizes)
    text = build_text_encoder(sizes, CLIP_VOCABULARY_SIZE, BEGIN_TOKEN, END_TOKEN)
    weights = dict(compact.state_dict())
    table = next(name for name in weights if name.endswith("token_embedding.weight"))
    weights[table] = compact_vocabulary().expand_table(weights[table])
    text.load_state_dict(weights)
    return text.eval()


def export(folder: Path, target: Path, sizes: NetworkSizes) -> int:
    """Writes the averaged networks of a training folder.

    Args:
        folder: Where the training stages keep their checkpoints.
        target: Gets model_index.json, scheduler/, text_encoder/, unet/ and vae/; the tokenizer stays where the
            repository keeps it for all models.
        sizes: The networks' widths.

    Returns:
        The size of the folder in bytes.
    """
    target.mkdir(parents=True, exist_ok=True)
    full_text_encoder(folder, sizes).to(torch.float16).save_pretrained(str(target / "text_encoder"))  # pyright: ignore[reportCallIssue, reportArgumentType]
    load_unet(folder, sizes).half().save_pretrained(str(target / "unet"))
    load_vae(folder, sizes).half().save_pretrained(str(target / "vae"))
    scheduler = DPMSolverMultistepScheduler(**SCHEDULE, algorithm_type="dpmsolver++", use_karras_sigmas=True)
    scheduler.save_pretrained(str(target / "scheduler"))
    (target / "model_index.json").write_text(json.dumps(_MODEL_INDEX, indent=2) + "\n", encoding="utf-8")
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def export_control(folder: Path, kind: str, target: Path, sizes: NetworkSizes) -> int:
    """Writes the averaged ControlNet of a kind as the diffusers folder `target`; returns its size in bytes."""
    load_controlnet(folder, kind, sizes).half().save_pretrained(str(target))
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def export_map(folder: Path, kind: str, target: Path) -> int:
    """Writes the averaged depth or pose network as the safetensors file `target`; returns its size in bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.half().contiguous() for name, tensor in load_map(folder, kind).state_dict().items()}
    save_file(tensors, str(target))
    return target.stat().st_size
