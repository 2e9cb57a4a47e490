"""What page and API ask of ControlNet beside generating: lists, and maps of single pictures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.adapters.control_load import ControlCache
from pipelines.checkpoints.download import Download, download
from pipelines.checkpoints.files import read_state_dict
from pipelines.checkpoints.model import Family
from pipelines.control.choices import ControlTypeChoices, control_types
from pipelines.control.geometry import pixel_perfect_resolution, target_size
from pipelines.control.inputs import ControlInput, rgb_pixels
from pipelines.control.maps import MapMaker
from pipelines.control.session import ControlTools
from pipelines.device import DevicePolicy
from pipelines.library import Library
from preprocessors.base import ControlMap, Parameter, Preprocessor
from preprocessors.catalogue import PREPROCESSORS, preprocessor
from preprocessors.pose_drawing import render_openpose_json
from preprocessors.weights import Runtime, WeightFile, WeightStore
from schema.controlnet import NO_MODEL, ControlNetUnit, UnitResizeMode
from schema.errors import InvalidRequest
from schema.paths import Paths

# Page and API read preprocessors' declarations; they know pipelines alone.
__all__ = ["ControlService", "DetectedMap", "Parameter", "Preprocessor"]


@dataclass(frozen=True, kw_only=True)
class DetectedMap:
    """What a preprocessor made of one picture.

    Attributes:
        image: The map at the preprocessor's size; the picture itself for those that only embed it.
        poses: OpenPose JSON, from those that find poses.
        resolution: The short side that was used.
    """

    image: Image.Image
    poses: dict[str, Any] | None = None
    resolution: int = 0


class ControlService:
    """Lists and single maps.

    Args:
        family: Of the checkpoint in use, or None.
        on_device: Runs something when no job uses the device, and waits for it.
        may_download: Whether weights may be fetched on first use.

    Attributes:
        tools: Loaded networks and remembered maps, which jobs use too.
    """

    def __init__(
        self,
        library: Library,
        paths: Paths,
        policy: DevicePolicy,
        *,
        family: Callable[[], Family | None],
        on_device: Callable[[Callable[[], Any]], None],
        may_download: bool,
    ) -> None:
        self._library, self._family, self._on_device = library, family, on_device
        self.weights = WeightStore(
            roots=paths.annotators, read=read_state_dict, download=_download if may_download else None
        )
        runtime = Runtime(weights=self.weights, device=policy.device)
        self.tools = ControlTools(networks=ControlCache(), maps=MapMaker(runtime))

    # ---- lists ----

    @property
    def preprocessors(self) -> tuple[Preprocessor, ...]:
        """All preprocessors in display order, with their sliders, types and (in `unavailable`) problems."""
        return PREPROCESSORS

    def preprocessor(self, name: str) -> Preprocessor:
        """The preprocessor of that name or label.

        Raises:
            UnknownName: If there is none.
        """
        return preprocessor(name)

    def missing_weights(self, name: str) -> list[str]:
        """Files that preprocessor `name` still needs, by their place below the preprocessors' folder."""
        return [file.place for file in self.weights.missing(preprocessor(name).weights)]

    def fetch_weights(
        self,
        name: str,
        on_progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        """Fetches the files that preprocessor `name` still needs.

        Args:
            on_progress: Called with the bytes there and in all, of all its files.
            cancel: Stops the download when set.

        Raises:
            WeightsMissing: If they cannot be fetched; the message lists them.
            DownloadError: If that failed or was cancelled.
        """
        files = self.weights.missing(preprocessor(name).weights)
        if self.weights.download is None or not all(file.repo for file in files):
            self.weights.paths(files)
        total = sum(file.size_bytes for file in files)
        before = 0
        for file in files:

            def report(done: int, size: int, before: int = before) -> None:
                if on_progress is not None:
                    on_progress(before + done, max(total, before + size))

            _download(file, self.weights.roots[0] / file.place, on_progress=report, cancel=cancel)
            before += file.size_bytes

    def module_labels(self) -> list[str]:
        """Labels of all preprocessors."""
        return [entry.label for entry in PREPROCESSORS]

    def model_names(self, *, update: bool = False) -> list[str]:
        """Names of all control models, "stem [hash]", without "None"; with `update` after looking again."""
        if update:
            self._library.refresh("controlnet_models")
        return self._library.controls.names

    def model_choices(self) -> list[str]:
        """ "None" and the names of all control models."""
        return [NO_MODEL, *self.model_names()]

    def types(self, *, fitting: bool = True) -> dict[str, ControlTypeChoices]:
        """Every control type in display order, "All" first, with the preprocessors and models it offers.

        Args:
            fitting: Leave out models that say they are of another family than the checkpoint in use.
        """
        return control_types(self.model_names(), self._family() if fitting else None, self.weights)

    # ---- maps ----

    def detect(
        self,
        module: str,
        image: Image.Image,
        *,
        mask: Image.Image | None = None,
        resolution: float = -1,
        a: float = -1,
        b: float = -1,
        seed: int = 0,
    ) -> DetectedMap:
        """The map that preprocessor `module` makes of `image`, when the device is free.

        Args:
            mask: White = repaint; for those that need one.
            resolution, a, b: Its sliders; values out of bounds (-1) take the default.

        Raises:
            InvalidRequest: If there is no such preprocessor, or a mask is missing or of another size.
            WebuiError: If it cannot run here, for instance because weights are missing.
        """
        entry = preprocessor(module)
        resolution, a, b = entry.settled(resolution=resolution, a=a, b=b)
        pixels = None if mask is None else np.asarray(mask.convert("L"), np.uint8)
        given = ControlInput(image=rgb_pixels(image), mask=pixels, resize_mode=UnitResizeMode.RESIZE)
        if entry.requires_mask and mask is None:
            raise InvalidRequest(f"Preprocessor '{entry.name}' needs a mask of what is to be repainted.")
        made: list[ControlMap] = []
        maker = self.tools.maps
        self._on_device(lambda: made.append(maker.make(entry, given, resolution=resolution, a=a, b=b, seed=seed)))
        shown = Image.fromarray(made[0].image)
        return DetectedMap(image=shown, poses=made[0].poses, resolution=int(resolution) if entry.resolution else 0)

    def detect_unit(self, unit: ControlNetUnit, *, width: int, height: int, image: Image.Image) -> DetectedMap:
        """The map of a unit as a generation of `width` x `height` would make it: "run preprocessor".

        Args:
            image: The unit's picture, or the init image where it has none.

        Raises:
            WebuiError: As `detect`.
        """
        resolution: float = unit.processor_res
        if unit.pixel_perfect:
            size = target_size(width, height)
            resolution = pixel_perfect_resolution(image.width, image.height, *size, unit.resize_mode)
            slider = preprocessor(unit.module).resolution
            if slider is not None:
                resolution = min(max(resolution, slider.minimum), slider.maximum)
        mask = unit.mask
        if mask is None and preprocessor(unit.module).requires_mask:
            mask = Image.new("L", image.size)
        return self.detect(unit.module, image, mask=mask, resolution=resolution, a=unit.threshold_a, b=unit.threshold_b)

    def render_poses(self, poses: Sequence[object]) -> list[Image.Image]:
        """Each of `poses` (OpenPose JSON) drawn on black.

        Raises:
            InvalidRequest: If one is not OpenPose JSON; the message names what is wrong.
        """
        return [Image.fromarray(render_openpose_json(pose)) for pose in poses]

    def forget(self) -> None:
        """Drops loaded networks, so that their memory is returned."""
        self.tools.networks.clear()
        self.tools.maps.runtime.clear()


def _download(
    file: WeightFile,
    target: Path,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    cancel: threading.Event | None = None,
) -> Path:
    """Fetches a preprocessor's weights with their hash checked.

    Raises:
        DownloadError: If that failed.
    """
    item = Download(
        name=file.name,
        repo=file.repo,
        file=file.file or file.name,
        size_bytes=file.size_bytes,
        licence=file.licence,
        sha256=file.sha256,
        folder="",
    )
    fetched = download(item, target.parent, on_progress=on_progress, cancel=cancel)
    return fetched if fetched == target else fetched.replace(target)
