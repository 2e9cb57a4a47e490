"""Face restoration: find faces, align them, run a network on each, put them back; GFPGAN and CodeFormer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipelines.checkpoints.files import read_state_dict
from pipelines.faces.align import Pixels, alignment, put_face, take_face
from pipelines.faces.parsing import FaceParser
from pipelines.faces.retinaface import FaceDetector
from preprocessors.torchvision_ops import ensure_torchvision
from schema.errors import CheckpointError, NotFound

if TYPE_CHECKING:
    from spandrel import ModelDescriptor

SMALLEST_EYE_DISTANCE = 5.0
"""Pixels between the eyes below which a face is left alone. Source: A1111 modules/face_restoration_utils.py."""

EXTRA_PACKAGE = "spandrel_extra_arches"

RunFace = Callable[[Tensor, float], Tensor]
"""An aligned face (1, 3, 512, 512), RGB in [-1, 1], and CodeFormer's weight → the same, restored."""


@dataclass(kw_only=True)
class FaceNetwork:
    """A restoring network in a weight file; read at the first use and kept until `unload`.

    Attributes:
        architecture: What spandrel calls it: "GFPGAN" or "CodeFormer".
    """

    path: Path
    architecture: str
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _model: ModelDescriptor | None = field(default=None, init=False, repr=False)

    def __call__(self, face: Tensor, weight: float) -> Tensor:
        """`face` (1, 3, 512, 512), RGB in [-1, 1], restored.

        Raises:
            CheckpointError: If the file holds another network.
            NotFound: If CodeFormer's architecture is not installed.
        """
        network = self._load().model
        face = face.to(self.device)
        with torch.inference_mode():
            if self.architecture == "CodeFormer":
                return network(face, weight=weight)[0]
            # The noise of the weights instead of new noise: the same picture gives the same picture.
            return network(face, return_rgb=False, randomize_noise=False)[0]

    def unload(self) -> None:
        """Frees the network; the next use reads it again."""
        self._model = None

    def _load(self) -> ModelDescriptor:
        if self._model is None:
            self._model = _load_network(self.path, self.architecture).to(self.device).eval()
        return self._model


@dataclass(kw_only=True)
class NetworkRestorer:
    """A face restorer with its networks.

    Attributes:
        run: What restores one aligned face.
        detector: Finds the faces.
        parser: Tells face from hat and background in a restored face; None puts back a square with soft edges.
    """

    name: str
    run: RunFace
    detector: FaceDetector
    parser: FaceParser | None = None
    aliases: tuple[str, ...] = ()

    def check(self) -> None:
        """Does nothing: the networks are given."""

    def restore(self, image: Image.Image, weight: float) -> Image.Image:
        """`image` (RGB) with its faces restored, of the same size; without a face it is handed back as it is.

        Source: A1111 modules/face_restoration_utils.py, restore_with_face_helper.
        """
        original = np.asarray(image.convert("RGB"))
        pixels = original
        for face in self.detector.detect(original):
            if face.eye_distance < SMALLEST_EYE_DISTANCE:
                continue
            matrix = alignment(face)
            restored = to_face_pixels(self.run(to_face_tensor(take_face(original, matrix)), weight))
            pixels = put_face(pixels, restored, matrix, self.parser.mask(restored) if self.parser else None)
        return image if pixels is original else Image.fromarray(pixels)

    def unload(self) -> None:
        """Frees the networks; the next picture reads them again."""
        for part in (self.run, self.detector, self.parser):
            unload = getattr(part, "unload", None)
            if unload is not None:
                unload()


def to_face_tensor(face: Pixels) -> Tensor:
    """An aligned face (512, 512, 3) as (1, 3, 512, 512) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(face.transpose(2, 0, 1))).float()[None] / 127.5 - 1


def to_face_pixels(face: Tensor) -> Pixels:
    """(1, 3, 512, 512) in [-1, 1] as an aligned face (512, 512, 3), rounded."""
    planes = face[0].float().clamp(-1, 1).add(1).mul(127.5).round().permute(1, 2, 0)
    return planes.cpu().numpy().astype(np.uint8)


def _load_network(path: Path, architecture: str) -> ModelDescriptor:
    ensure_torchvision()
    from spandrel import MAIN_REGISTRY, ModelLoader, UnsupportedModelError, canonicalize_state_dict

    registry = MAIN_REGISTRY.copy()
    if architecture == "CodeFormer":
        try:
            from spandrel_extra_arches import EXTRA_REGISTRY
        except ModuleNotFoundError as error:
            raise NotFound(
                f"CodeFormer needs the Python package {EXTRA_PACKAGE}, whose licence forbids commercial use. "
                f"Install it with: pip install {EXTRA_PACKAGE}"
            ) from error
        registry.add(*EXTRA_REGISTRY, ignore_duplicates=True)
    try:
        model = ModelLoader(registry=registry).load_from_state_dict(canonicalize_state_dict(read_state_dict(path)))
    except (UnsupportedModelError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"'{path.name}' is not {architecture}: {error}") from error
    if model.architecture.id != architecture:
        raise CheckpointError(f"'{path.name}' is {model.architecture.name}, not {architecture}.")
    return model
