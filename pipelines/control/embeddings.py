"""Pictures of a unit as tokens of an IP-Adapter."""

from __future__ import annotations

import base64
import binascii

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from pipelines.adapters.clip_vision import PictureEmbedding, build_clip_vision, clip_pixels, embed_pictures
from pipelines.adapters.ip_adapter import IPAdapter
from pipelines.control.maps import UnitMaps
from pipelines.control.plan import UnitPlan
from preprocessors.embeddings import CLIP_G, CLIP_H
from preprocessors.weights import Runtime, WeightFile
from schema.errors import InvalidRequest

_SUMMARY_OF_G, _HIDDEN_OF_G = 1280, 1664


def picture_tokens(unit: UnitPlan, maps: UnitMaps, adapter: IPAdapter, runtime: Runtime) -> tuple[Tensor, Tensor]:
    """(tokens of the unit's pictures, tokens of no picture), (1, T, D) each; several pictures are averaged.

    Raises:
        WeightsMissing: If the picture encoder is not here.
        InvalidRequest: If embeddings that came with the request cannot be used.

    Source: sd-webui-controlnet scripts/ipadapter; no picture is zeros, before the encoder where the adapter reads its
    last but one layer.
    """
    if unit.embeddings:
        return _given_tokens(unit)
    encoder = runtime.network(*_encoder_key(unit, adapter), build_clip_vision)
    pictures = [Image.fromarray(maps.made.image), *unit.further]
    pixels = torch.cat([clip_pixels(picture) for picture in pictures])
    with torch.no_grad():
        seen, nothing = embed_pictures(encoder, pixels), embed_pictures(encoder, torch.zeros_like(pixels[:1]))
        cond = adapter.tokens(_read(seen, adapter))
        uncond = adapter.tokens(nothing.hidden if adapter.uses_hidden_states else torch.zeros_like(nothing.summary))
    return cond.mean(dim=0, keepdim=True), uncond


def _read(embedding: PictureEmbedding, adapter: IPAdapter) -> Tensor:
    found = embedding.hidden if adapter.uses_hidden_states else embedding.summary
    if found.shape[-1] != adapter.image_width:
        raise InvalidRequest(
            f"module: this IP-Adapter reads embeddings of width {adapter.image_width}, the picture encoder makes "
            f"{found.shape[-1]}. Choose ip-adapter-auto."
        )
    return found


def _encoder_key(unit: UnitPlan, adapter: IPAdapter) -> tuple[object, list[WeightFile]]:
    """The encoder that the preprocessor names, or for "auto" the one whose width the adapter reads."""
    if unit.preprocessor.weights:
        file = unit.preprocessor.weights[0]
    else:
        width_of_g = _HIDDEN_OF_G if adapter.uses_hidden_states else _SUMMARY_OF_G
        file = CLIP_G if adapter.image_width == width_of_g else CLIP_H
    return file.place, [file]


def _given_tokens(unit: UnitPlan) -> tuple[Tensor, Tensor]:
    """Tokens that came with the request, averaged."""
    pairs = [_pair(text, unit.number) for text in unit.embeddings]
    return (
        torch.stack([cond for cond, _ in pairs]).mean(dim=0),
        torch.stack([uncond for _, uncond in pairs]).mean(dim=0),
    )


def _pair(text: str, number: int) -> tuple[Tensor, Tensor]:
    """(cond, uncond) of a safetensors file with `cond` and, if the negative is not zeros, `uncond`.

    The extension's clients send pickles here; those of a request are never opened.
    """
    where = f"ControlNet unit {number}: ipadapter_input"
    try:
        tensors = load(base64.b64decode(text))
    except (binascii.Error, ValueError, SafetensorError) as error:
        raise InvalidRequest(
            f"{where} must be the base64 text of a .safetensors file with the tensor 'cond'; pickles are not opened."
        ) from error
    cond = tensors.get("cond")
    if cond is None or cond.ndim != 3:
        raise InvalidRequest(f"{where} must hold tokens of shape (1, T, D) as the tensor 'cond'.")
    uncond = tensors.get("uncond", torch.zeros_like(cond))
    if uncond.shape != cond.shape:
        raise InvalidRequest(f"{where}: 'uncond' has the shape {tuple(uncond.shape)}, 'cond' {tuple(cond.shape)}.")
    return cond[:1].float(), uncond[:1].float()
