"""Line drawings: white lines on black."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from preprocessors.base import Pixels, Preprocessor, Work
from preprocessors.geometry import detected, scaled
from preprocessors.manga_line import MangaLine
from preprocessors.providers import provider
from preprocessors.tensors import loaded, resized, to_bytes, to_floats, to_tensor
from preprocessors.weights import WeightFile


def _file(folder: str, name: str, size_bytes: int, sha256: str | None = None) -> WeightFile:
    return WeightFile(
        folder=folder,
        name=name,
        repo="lllyasviel/Annotators",
        size_bytes=size_bytes,
        sha256=sha256,
        licence="MIT",
    )


REALISTIC = _file("lineart", "sk_model.pth", 17_173_511)
COARSE = _file("lineart", "sk_model2.pth", 17_173_511)
ANIME = _file(
    "lineart_anime", "netG.pth", 217_631_959, "ccabdcc3f5cf3c07cf65d58776acb21df7dfda825cdc70c9766a93fd62bfc488"
)
MANGA = _file(
    "manga_line", "erika.pth", 172_789_563, "badbd6baf013cefbd98993307b02cc14a26c770d067416e4fdecc8720b88feeb"
)

_ANIME_MULTIPLE = 256


def lineart_standard(work: Work) -> Pixels:
    """Dark lines on a light ground, as white lines on black, without a network."""
    return detected(work.image, work.resolution, standard_lines)


def standard_lines(pixels: Pixels, sigma: float = 6, faintest: float = 8) -> Pixels:
    """(H, W): by how much each pixel is darker than its surroundings, scaled by the median of what counts as a line.

    Args:
        sigma: Deviation of the surroundings' Gaussian, in pixels.
        faintest: Differences up to this do not count for the median.

    Source: sd-webui-controlnet scripts/processor.py, lineart_standard.
    """
    values = pixels.astype(np.float32)
    around = np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)
    darker = (around - values).min(axis=2).clip(0, 255)
    lines = darker[darker > faintest]
    scale = max(16.0, float(np.median(lines))) if lines.size else 16.0
    return (darker / scale * 127).clip(0, 255).astype(np.uint8)


def lineart_realistic(work: Work) -> Pixels:
    """Fine lines, as drawn with a pen."""
    return _drawn(work, REALISTIC)


def lineart_coarse(work: Work) -> Pixels:
    """Coarse lines, as drawn with a crayon."""
    return _drawn(work, COARSE)


def _drawn(work: Work, file: WeightFile) -> Pixels:
    def build(tensors: dict[str, Tensor]) -> nn.Module:
        return loaded(provider("controlnet_aux.lineart").Generator(3, 1, 3), tensors)

    @torch.inference_mode()
    def draw(pixels: Pixels) -> Pixels:
        network = work.runtime.network(file.place, [file], build)
        paper = network(to_tensor(pixels, work.runtime.device) / 255)
        return 255 - to_bytes(to_floats(paper[0, 0]))

    return detected(work.image, work.resolution, draw)


def lineart_anime(work: Work) -> Pixels:
    """Lines as in anime drawings."""

    def build(tensors: dict[str, Tensor]) -> nn.Module:
        norm = functools.partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)
        return loaded(provider("controlnet_aux.lineart_anime").UnetGenerator(3, 1, 8, 64, norm_layer=norm), tensors)

    @torch.inference_mode()
    def draw(pixels: Pixels) -> Pixels:
        height, width = pixels.shape[:2]
        # The network halves the size eight times.
        size = (_next_multiple(width), _next_multiple(height))
        network = work.runtime.network("lineart_anime", [ANIME], build)
        enlarged = to_tensor(scaled(pixels, size, cv2.INTER_CUBIC), work.runtime.device)
        paper = resized(to_floats(network(enlarged / 127.5 - 1)[0, 0]), height, width, cv2.INTER_CUBIC)
        return 255 - to_bytes(paper / 2 + 0.5)

    return detected(work.image, work.resolution, draw)


def lineart_anime_denoise(work: Work) -> Pixels:
    """The lines of a manga page without its screentones."""

    def build(tensors: dict[str, Tensor]) -> nn.Module:
        return loaded(MangaLine(), tensors)

    @torch.inference_mode()
    def draw(pixels: Pixels) -> Pixels:
        grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
        network = work.runtime.network("manga_line", [MANGA], build)
        paper = to_floats(network(to_tensor(grey, work.runtime.device))[0, 0])
        return (255 - paper).clip(0, 255).astype(np.uint8)

    return detected(work.image, work.resolution, draw)


def _next_multiple(length: int) -> int:
    return _ANIME_MULTIPLE * math.ceil(length / _ANIME_MULTIPLE)


_TYPES = ("Lineart",)

PREPROCESSORS = (
    Preprocessor(
        name="lineart_standard",
        label="lineart_standard (from white bg & black line)",
        types=_TYPES,
        run=lineart_standard,
        priority=100,
    ),
    Preprocessor(
        name="lineart",
        label="lineart_realistic",
        types=_TYPES,
        run=lineart_realistic,
        weights=(REALISTIC,),
        provider="controlnet-aux",
    ),
    Preprocessor(name="lineart_coarse", types=_TYPES, run=lineart_coarse, weights=(COARSE,), provider="controlnet-aux"),
    Preprocessor(name="lineart_anime", types=_TYPES, run=lineart_anime, weights=(ANIME,), provider="controlnet-aux"),
    Preprocessor(name="lineart_anime_denoise", types=_TYPES, run=lineart_anime_denoise, weights=(MANGA,)),
)
