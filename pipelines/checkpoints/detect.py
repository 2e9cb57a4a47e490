"""Tells from key names and shapes what a weight file is: family, layout, prediction type, channels, or why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.checkpoints.files import FileHeader, TensorHeader, read_header
from pipelines.checkpoints.layout import read_json
from pipelines.checkpoints.model import Family, Prediction
from schema.errors import CheckpointError

UNET = "model.diffusion_model."
CONV_IN = f"{UNET}input_blocks.0.0.weight"

_SUPPORTED = "Stable Diffusion 1, 2 and XL can be run here"
# (any of these texts occurs in a key, what the file is and where it belongs); the first that fits counts.
_OTHER_KINDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("double_blocks.", "transformer_blocks.0.attn.add_q_proj"),
        "a Flux model; Stable Diffusion 1, 2 and XL can be run here",
    ),
    (("joint_blocks.", f"{UNET}x_embedder."), "a Stable Diffusion 3 model; 1, 2 and XL can be run here"),
    (
        ("lora_up.", "lora_down.", "lora_A.", "lora_B.", "hada_w1_a", "lokr_w1", "oft_blocks", "oft_diag", ".on_input")
        + ("lora_unet_", "lora_te", ".diff_b"),
        "a LoRA; put it into models/Lora and use it in the prompt",
    ),
    (
        ("control_model.", "zero_convs.0.", "controlnet_cond_embedding.", "controlnet_down_blocks.", "lllite_"),
        "a ControlNet; put it into models/ControlNet",
    ),
    (("adapter.body.", "body.0.block1."), "a T2I adapter; put it into models/ControlNet"),
    (("image_proj.", "ip_adapter."), "an IP-Adapter; put it into models/ControlNet"),
    (
        ("conv_first.", "RDB1.", "sub.0.RDB", "layers.0.residual_group", "body.0.rdb1."),
        "an upscaler; put it into models/ESRGAN",
    ),
    (("emb_params", "string_to_param", "clip_g"), "a textual inversion embedding; put it into the embeddings folder"),
)


@dataclass(frozen=True, kw_only=True)
class Detected:
    """What a checkpoint's header or configuration tells.

    Attributes:
        prediction: None when only running the UNet can tell (SD 2.x).
        in_channels: Of the UNet: 4, 8 or 9.
        zero_terminal_snr: Whether the model was trained with the rescaled noise schedule of Lin et al. 2023.
        is_folder: A diffusers folder rather than a single file.
    """

    family: Family
    prediction: Prediction | None
    in_channels: int
    zero_terminal_snr: bool = False
    is_folder: bool = False


def detect(path: Path, header: FileHeader | None = None) -> Detected:
    """What is in the checkpoint at `path` (a file, whose `header` may be given, or a diffusers folder).

    Raises:
        CheckpointError: If it is not a checkpoint that can be run here; the message says what it is instead.
    """
    if path.is_dir():
        return detect_folder(path)
    found = detect_header((header or read_header(path)).tensors, path.name)
    stated = _stated_prediction(path)
    if stated is None:
        return found
    return Detected(
        family=found.family, prediction=stated, in_channels=found.in_channels, zero_terminal_snr=found.zero_terminal_snr
    )


def detect_header(tensors: Mapping[str, TensorHeader], name: str) -> Detected:
    """What a single file with these tensors is; `name` is for error messages.

    The SDXL marker keys `v_pred` and `ztsnr` are honoured, though A1111 1.10.1 does not know them: without them
    such a model gives noise.

    Raises:
        CheckpointError: If it is not a checkpoint that can be run here.

    Source: A1111 modules/sd_models_config.py, guess_model_config_from_state_dict.
    """
    if CONV_IN not in tensors:
        raise CheckpointError(f"'{name}' is {_other_kind(tensors)}.")
    in_channels = tensors[CONV_IN].shape[1]
    family = _family(tensors, name)
    if in_channels not in (4, 8, 9):
        raise CheckpointError(f"'{name}' has a UNet with {in_channels} input channels; 4, 8 and 9 can be run here.")
    prediction: Prediction | None = Prediction.EPS
    if family is Family.SD2:
        # A1111 takes the inpainting model for eps without a probe.
        prediction = Prediction.EPS if in_channels == 9 else None
    elif "v_pred" in tensors:
        prediction = Prediction.V
    return Detected(family=family, prediction=prediction, in_channels=in_channels, zero_terminal_snr="ztsnr" in tensors)


def _family(tensors: Mapping[str, TensorHeader], name: str) -> Family:
    if "conditioner.embedders.1.model.ln_final.weight" in tensors:
        return Family.SDXL
    has_vector = f"{UNET}label_emb.0.0.weight" in tensors
    if "conditioner.embedders.0.model.ln_final.weight" in tensors:
        # SD-Turbo (2.1) files use SDXL's prefix; only SDXL's UNet takes a vector of sizes and pooled text.
        return Family.SDXL_REFINER if has_vector else Family.SD2
    refused = {
        "depth_model.": "a depth-guided model",
        "embedder.model.": "an unCLIP model",
        "cond_stage_model.roberta.": "an AltDiffusion model",
    }
    for prefix, kind in refused.items():
        if any(key.startswith(prefix) for key in tensors):
            raise CheckpointError(f"'{name}' is {kind}, which cannot be run here.")
    if any(key.startswith("cond_stage_model.model.") for key in tensors):
        return Family.SD2
    if any(key.startswith("cond_stage_model.transformer.") for key in tensors):
        return Family.SD1
    raise CheckpointError(f"'{name}' has no text encoder: it is a UNet alone. Take the complete checkpoint.")


def _other_kind(tensors: Mapping[str, TensorHeader]) -> str:
    for texts, kind in _OTHER_KINDS:
        if any(text in key for key in tensors for text in texts):
            return kind
    if any("decoder.up.0.block.0." in key or "decoder.up_blocks.0." in key for key in tensors):
        return "a VAE; put it into models/VAE"
    if any(key.startswith("down_blocks.0.resnets.") for key in tensors):
        return "a UNet alone, in diffusers' layout; put the whole diffusers folder there"
    if not tensors:
        return "no model file: it holds no tensors"
    return f"no Stable Diffusion checkpoint (its first tensor is '{next(iter(tensors))}')"


def _stated_prediction(path: Path) -> Prediction | None:
    """The prediction type that a `.yaml` beside the checkpoint states, or None.

    Source: A1111 modules/sd_models_config.py, find_checkpoint_config_near_filename.
    """
    config = path.with_suffix(".yaml")
    if not config.is_file():
        return None
    try:
        content: Any = yaml.safe_load(config.read_text(encoding="utf-8"))
        params: Any = content["model"]["params"]
    except (yaml.YAMLError, OSError, UnicodeDecodeError, KeyError, TypeError):
        return None
    if not isinstance(params, dict):
        return None
    is_v = params.get("parameterization") == "v" or "VScaling" in str(params.get("denoiser_config", ""))
    return Prediction.V if is_v else Prediction.EPS


def detect_folder(path: Path) -> Detected:
    """What a diffusers folder holds, by its configuration files.

    Raises:
        CheckpointError: If it is not a Stable Diffusion 1, 2 or XL pipeline.
    """
    index = read_json(path / "model_index.json")
    if not (path / "unet" / "config.json").is_file():
        kind = index.get("_class_name", "unknown")
        raise CheckpointError(f"'{path.name}' is a {kind}, not a Stable Diffusion 1, 2 or XL pipeline.")
    unet = read_json(path / "unet" / "config.json")
    if unet.get("addition_embed_type") == "text_time":
        has_two = (path / "text_encoder").is_dir() and (path / "text_encoder_2").is_dir()
        family = Family.SDXL if has_two else Family.SDXL_REFINER
    else:
        family = Family.SD2 if unet.get("use_linear_projection") else Family.SD1
    scheduler = read_json(path / "scheduler" / "scheduler_config.json")
    stated = scheduler.get("prediction_type", "epsilon")
    if stated not in ("epsilon", "v_prediction"):
        raise CheckpointError(f"'{path.name}' predicts '{stated}'; only epsilon and v_prediction can be run here.")
    return Detected(
        family=family,
        prediction=Prediction.V if stated == "v_prediction" else Prediction.EPS,
        in_channels=int(unet.get("in_channels", 4)),
        zero_terminal_snr=bool(scheduler.get("rescale_betas_zero_snr", False)),
        is_folder=True,
    )
