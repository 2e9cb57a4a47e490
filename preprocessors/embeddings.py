"""Preprocessors whose product is an embedding: the engine makes it of the picture that comes back unchanged."""

from __future__ import annotations

from preprocessors.base import Parameter, Preprocessor, unchanged
from preprocessors.weights import WeightFile

CLIP_L = WeightFile(
    folder="clip_vision",
    name="clip_vitl.pth",
    file="pytorch_model.bin",
    repo="openai/clip-vit-large-patch14",
    size_bytes=1_710_671_599,
    licence="MIT",
)
CLIP_H = WeightFile(
    folder="clip_vision",
    name="clip_h.pth",
    file="models/image_encoder/pytorch_model.bin",
    repo="h94/IP-Adapter",
    size_bytes=2_528_481_905,
    licence="MIT",
)
CLIP_G = WeightFile(
    folder="clip_vision",
    name="clip_g.pth",
    repo="lllyasviel/Annotators",
    size_bytes=3_689_911_098,
    licence="MIT",
)

_NEEDS_INSIGHTFACE = "it needs the insightface package and its face models, which are for research only."
_NOISE = (Parameter(label="Noise Augmentation", minimum=0, maximum=1, default=0, step=0.01),)


def _embedding(
    name: str,
    control_type: str,
    *weights: WeightFile,
    label: str = "",
    priority: int = 0,
    model_free: bool = False,
    sliders: tuple[Parameter, ...] = (),
    shows_control_mode: bool = False,
    unavailable: str = "",
) -> Preprocessor:
    return Preprocessor(
        name=name,
        label=label,
        types=(control_type,),
        run=unchanged,
        priority=priority,
        resolution=None,
        sliders=sliders,
        weights=weights,
        provider="transformers, in the engine",
        model_free=model_free,
        returns_image=False,
        shows_control_mode=shows_control_mode,
        unavailable=unavailable,
    )


PREPROCESSORS = (
    # Which encoder it takes is seen from the IP-Adapter's name, so its files are not listed here.
    _embedding("ip-adapter-auto", "IP-Adapter", priority=1000),
    _embedding("ip-adapter_clip_sd15", "IP-Adapter", CLIP_H, label="ip-adapter_clip_h", priority=100),
    _embedding("ip-adapter_clip_sdxl", "IP-Adapter", CLIP_G, label="ip-adapter_clip_g"),
    _embedding("ip-adapter_clip_sdxl_plus_vith", "IP-Adapter", CLIP_H),
    _embedding("ip-adapter_face_id", "IP-Adapter", unavailable=_NEEDS_INSIGHTFACE),
    _embedding("ip-adapter_face_id_plus", "IP-Adapter", CLIP_H, unavailable=_NEEDS_INSIGHTFACE),
    _embedding("ip-adapter_pulid", "IP-Adapter", shows_control_mode=True, unavailable=_NEEDS_INSIGHTFACE),
    _embedding("revision_clipvision", "Revision", CLIP_G, priority=100, model_free=True, sliders=_NOISE),
    _embedding("revision_ignore_prompt", "Revision", CLIP_G, model_free=True, sliders=_NOISE),
    _embedding("clip_vision", "T2I-Adapter", CLIP_L, label="t2ia_style_clipvision", shows_control_mode=True),
    _embedding("instant_id_face_embedding", "Instant-ID", shows_control_mode=True, unavailable=_NEEDS_INSIGHTFACE),
    Preprocessor(
        name="instant_id_face_keypoints",
        types=("Instant-ID",),
        run=unchanged,
        resolution=None,
        unavailable=_NEEDS_INSIGHTFACE,
    ),
)
