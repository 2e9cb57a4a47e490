"""Segmentation maps: each class or object in a colour of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from preprocessors.anime_face import AnimeFaceNet
from preprocessors.base import Pixels, Preprocessor, Run, Work
from preprocessors.geometry import at_resolution, detected
from preprocessors.palettes import ANIME_FACE, ade20k_palette, coco_palette
from preprocessors.providers import provider
from preprocessors.tensors import loaded, normalized, to_tensor
from preprocessors.weights import WeightFile

ONEFORMER_ADE20K = WeightFile(
    folder="oneformer",
    name="oneformer_ade20k_swin_large.bin",
    file="pytorch_model.bin",
    repo="shi-labs/oneformer_ade20k_swin_large",
    licence="MIT",
)
ONEFORMER_COCO = WeightFile(
    folder="oneformer",
    name="oneformer_coco_swin_large.bin",
    file="pytorch_model.bin",
    repo="shi-labs/oneformer_coco_swin_large",
    licence="MIT",
)
UPERNET = WeightFile(
    folder="upernet",
    name="upernet_convnext_small.bin",
    file="pytorch_model.bin",
    repo="openmmlab/upernet-convnext-small",
    licence="MIT",
)
ANIME = WeightFile(
    folder="anime_face_segment",
    name="UNet.pth",
    file="Annotators/UNet.pth",
    repo="bdsqlsz/qinglong_controlnet-lllite",
    licence="MIT",
)
MOBILE_SAM = WeightFile(
    folder="mobile_sam",
    name="mobile_sam.pt",
    repo="dhkim2810/MobileSAM",
    size_bytes=40_728_226,
    licence="Apache-2.0",
)

SWIN_LARGE: dict[str, Any] = {
    "embed_dim": 192,
    "depths": [2, 2, 18, 2],
    "num_heads": [6, 12, 24, 48],
    "window_size": 12,
    "image_size": 384,
}
CONVNEXT_SMALL: dict[str, Any] = {"depths": [3, 3, 27, 3], "hidden_sizes": [96, 192, 384, 768]}
SAM_POINTS_PER_SIDE = 32

_STAGES = ["stage1", "stage2", "stage3", "stage4"]
_TASK_LENGTH = 77
# "the task is semantic" in CLIP's vocabulary, between its start and end marks; the rest is zeros.
_SEMANTIC_TASK = (49406, 518, 10549, 533, 29119, 1550, 49407)
UPERNET_SIDE = 512
_ANIME_SIDE = 512


def oneformer(file: WeightFile, palette: Callable[[], np.ndarray], *, queries: int, side: int, longest: int) -> Run:
    """A preprocessor that colours classes found by OneFormer with a large Swin transformer.

    Args:
        side: Short side at which the network sees pictures, unless the long one would exceed `longest`.
    """

    def run(work: Work) -> Pixels:
        def build(tensors: dict[str, Tensor]) -> nn.Module:
            library = provider("transformers")
            settings = library.OneFormerConfig(
                backbone_config=library.SwinConfig(**SWIN_LARGE, out_features=_STAGES),
                num_queries=queries,
                num_labels=len(palette()),
                is_training=False,
            )
            return _from_library(library.OneFormerForUniversalSegmentation, settings, tensors)

        @torch.inference_mode()
        def detect(pixels: Pixels) -> Pixels:
            network: Any = work.runtime.network(file.place, [file], build)
            device = work.runtime.device
            seen = at_resolution(pixels, min(side, longest * min(pixels.shape[:2]) // max(pixels.shape[:2])))
            task = torch.zeros(1, _TASK_LENGTH, dtype=torch.long, device=device)
            task[0, : len(_SEMANTIC_TASK)] = torch.tensor(_SEMANTIC_TASK)
            answer = network(pixel_values=normalized(to_tensor(seen, device) / 255), task_inputs=task)
            classes = answer.class_queries_logits.softmax(-1)[..., :-1]
            return _colored(
                torch.einsum("bqc,bqhw->bchw", classes, answer.masks_queries_logits.sigmoid()), palette(), pixels
            )

        return detected(work.image, work.resolution, detect)

    return run


def upernet(work: Work) -> Pixels:
    """Classes of ADE20K found by UperNet with a small ConvNeXt."""

    def build(tensors: dict[str, Tensor]) -> nn.Module:
        library = provider("transformers")
        settings = library.UperNetConfig(
            backbone_config=library.ConvNextConfig(**CONVNEXT_SMALL, out_features=_STAGES),
            num_labels=len(ade20k_palette()),
            auxiliary_in_channels=CONVNEXT_SMALL["hidden_sizes"][2],
        )
        return _from_library(library.UperNetForSemanticSegmentation, settings, tensors)

    @torch.inference_mode()
    def detect(pixels: Pixels) -> Pixels:
        network: Any = work.runtime.network("upernet", [UPERNET], build)
        seen = to_tensor(at_resolution(pixels, UPERNET_SIDE), work.runtime.device) / 255
        return _colored(network(pixel_values=normalized(seen)).logits, ade20k_palette(), pixels)

    return detected(work.image, work.resolution, detect)


def _from_library(network_class: Any, settings: Any, tensors: dict[str, Tensor]) -> nn.Module:
    """A transformers network with `tensors`, whose names may be those of earlier versions of the library.

    Raises:
        RuntimeError: If some of its tensors are not among them.
    """
    network, report = network_class.from_pretrained(None, config=settings, state_dict=tensors, output_loading_info=True)
    if report["missing_keys"]:
        raise RuntimeError(f"{len(report['missing_keys'])} tensors are missing, such as {min(report['missing_keys'])}")
    return network.float()


def _colored(scores: Tensor, palette: np.ndarray, pixels: Pixels) -> Pixels:
    """The palette's colour of each pixel's likeliest class; scores, (1, C, h, w), are enlarged to the picture."""
    height, width = pixels.shape[:2]
    large = nn.functional.interpolate(scores.float(), size=(height, width), mode="bilinear", align_corners=False)
    return palette[large[0].argmax(0).cpu().numpy()]


def anime_face(work: Work) -> Pixels:
    """Background, hair, eyes, mouth, face, skin and clothes of an anime face, in seven colours."""

    def build(tensors: dict[str, Tensor]) -> nn.Module:
        return loaded(AnimeFaceNet(), tensors)

    @torch.inference_mode()
    def detect(pixels: Pixels) -> Pixels:
        network = work.runtime.network("anime_face", [ANIME], build)
        seen = to_tensor(at_resolution(pixels, _ANIME_SIDE), work.runtime.device) / 255
        return _colored(network(seen), ANIME_FACE, pixels)

    return detected(work.image, work.resolution, detect)


def mobile_sam(work: Work) -> Pixels:
    """Every object that Segment Anything finds, each in a random colour; black where it finds none."""

    def build(tensors: dict[str, Tensor]) -> nn.Module:
        registry = provider("controlnet_aux.segment_anything.build_sam").sam_model_registry
        return loaded(registry["vit_t"](checkpoint=None), tensors)

    def detect(pixels: Pixels) -> Pixels:
        network = work.runtime.network("mobile_sam", [MOBILE_SAM], build)
        generator_class = provider("controlnet_aux.segment_anything.automatic_mask_generator").SamAutomaticMaskGenerator
        found = generator_class(network, points_per_side=SAM_POINTS_PER_SIDE).generate(pixels)
        colors = np.random.default_rng(work.seed)
        made = np.zeros_like(pixels)
        for item in sorted(found, key=lambda item: -item["area"]):
            made[item["segmentation"]] = colors.integers(0, 255, 3, dtype=np.uint8)
        return made

    return detected(work.image, work.resolution, detect)


_TYPES = ("Segmentation",)

PREPROCESSORS = (
    Preprocessor(
        name="oneformer_ade20k",
        label="seg_ofade20k",
        types=_TYPES,
        run=oneformer(ONEFORMER_ADE20K, ade20k_palette, queries=250, side=640, longest=2560),
        priority=100,
        weights=(ONEFORMER_ADE20K,),
        provider="transformers",
        note="Its weights come from the Hugging Face version of the same network, not from the extension's file.",
    ),
    Preprocessor(
        name="oneformer_coco",
        label="seg_ofcoco",
        types=_TYPES,
        run=oneformer(ONEFORMER_COCO, coco_palette, queries=150, side=800, longest=1333),
        weights=(ONEFORMER_COCO,),
        provider="transformers",
        note="Its weights come from the Hugging Face version of the same network, not from the extension's file.",
    ),
    Preprocessor(
        name="segmentation",
        label="seg_ufade20k",
        types=_TYPES,
        run=upernet,
        weights=(UPERNET,),
        provider="transformers",
        note="Classes and colours are UniFormer's, the network is UperNet with ConvNeXt.",
    ),
    Preprocessor(
        name="anime_face_segment",
        label="seg_anime_face",
        types=_TYPES,
        run=anime_face,
        weights=(ANIME,),
        provider="own code on torchvision",
    ),
    Preprocessor(
        name="mobile_sam",
        types=_TYPES,
        run=mobile_sam,
        weights=(MOBILE_SAM,),
        provider="controlnet-aux",
        is_seeded=True,
    ),
)
