"""What a preprocessor is: a declared entry of the list, and how it is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from preprocessors.weights import Runtime, WeightFile
from schema.errors import InvalidRequest, WebuiError

Pixels = npt.NDArray[np.uint8]
"""(H, W, 3) RGB where nothing else is said; (H, W) for masks and one-channel maps."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A slider of a preprocessor."""

    label: str
    minimum: float
    maximum: float
    default: float
    step: float = 1

    def settled(self, value: float | None) -> float:
        """`value`, or the default where it is None or out of bounds.

        Source: sd-webui-controlnet internal_controlnet/args.py, the bounds rule of enabled units.
        """
        return value if value is not None and self.minimum <= value <= self.maximum else self.default


RESOLUTION = Parameter(label="Resolution", minimum=64, maximum=2048, default=512, step=8)


@dataclass(frozen=True, kw_only=True)
class ControlMap:
    """What a preprocessor made.

    Attributes:
        image: (H, W, 3) uint8; for preprocessors whose product is an embedding the picture to be embedded.
        mask: (H, W) uint8, 255 = repaint; only from inpaint preprocessors.
        poses: OpenPose JSON (see `poses_json.py`); only from those that find poses.
    """

    image: Pixels
    mask: Pixels | None = None
    poses: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Work:
    """One picture to be preprocessed, every value settled.

    Attributes:
        image: (H, W, 3) RGB uint8.
        mask: (H, W) uint8, 255 = masked, or None.
        resolution: Wanted short side in pixels; 0 for preprocessors without that slider.
        a, b, c: The sliders' values; 0.5 where a slider does not exist.
        seed: For those that draw random numbers.
        runtime: Weights, device and loaded networks.
    """

    image: Pixels
    mask: Pixels | None
    resolution: int
    a: float
    b: float
    c: float
    seed: int
    runtime: Runtime


Run = Callable[[Work], "Pixels | ControlMap"]


@dataclass(frozen=True, kw_only=True)
class Preprocessor:
    """An entry of the preprocessor list.

    Attributes:
        name: The ControlNet extension's module name, which the API speaks.
        label: What its page calls it; also accepted as a name.
        types: Control types that offer it; "All" is not among them.
        run: Makes the map.
        priority: Higher comes earlier in lists; 100 marks the default of its type.
        resolution: The resolution slider, or None.
        sliders: Up to three more (threshold_a, threshold_b, and a third the extension's API has no field for).
        weights: Files its networks need.
        provider: The library that defines its network or does the work.
        model_free: Works without a control model (reference, revision).
        returns_image: Whether the product is a picture; else the engine makes an embedding of `ControlMap.image`.
        requires_mask: Whether a mask has to come with the picture.
        shows_control_mode: Whether the control mode has a meaning.
        soft_weights_in_hires: Whether the hires pass uses the soft layer weights in every control mode.
        is_seeded: Whether the map depends on the seed (and is therefore never kept).
        is_mini: Whether it is one of our own small networks.
        unavailable: Why it cannot run here, as a sentence; empty where it can.
        note: What is otherwise than in the extension, as a sentence; empty where nothing is.

    Source: sd-webui-controlnet scripts/supported_preprocessor.py, Preprocessor.
    """

    name: str
    types: tuple[str, ...]
    run: Run
    label: str = ""
    priority: int = 0
    resolution: Parameter | None = field(default=RESOLUTION)
    sliders: tuple[Parameter, ...] = ()
    weights: tuple[WeightFile, ...] = ()
    provider: str = "own code"
    model_free: bool = False
    returns_image: bool = True
    requires_mask: bool = False
    shows_control_mode: bool = True
    soft_weights_in_hires: bool = False
    is_seeded: bool = False
    is_mini: bool = False
    unavailable: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.name)

    @property
    def aliases(self) -> tuple[str, ...]:
        """Further names it answers to."""
        return () if self.label == self.name else (self.label,)

    def slider(self, index: int) -> Parameter | None:
        """The slider called `index` 1, 2 or 3, or None."""
        return self.sliders[index - 1] if index <= len(self.sliders) else None

    def settled(
        self, *, resolution: float | None = None, a: float | None = None, b: float | None = None
    ) -> tuple[float, float, float]:
        """(resolution, threshold_a, threshold_b) as the extension settles and records them.

        Values out of bounds become the slider's default; a hidden slider's are kept within 0..1, else 0.5.
        """
        hidden = Parameter(label="", minimum=0, maximum=1, default=0.5, step=0.01)
        return (
            (self.resolution or hidden).settled(resolution),
            (self.slider(1) or hidden).settled(a),
            (self.slider(2) or hidden).settled(b),
        )

    def __call__(
        self,
        image: npt.NDArray[np.uint8],
        *,
        runtime: Runtime,
        resolution: float | None = None,
        a: float | None = None,
        b: float | None = None,
        c: float | None = None,
        mask: Pixels | None = None,
        seed: int = 0,
    ) -> ControlMap:
        """The control map of `image`.

        Args:
            image: uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); transparency is laid on white.
            resolution: Short side of the map; None or out of bounds takes the default, likewise `a`, `b`, `c`.
            mask: (H, W) uint8 of the same size, 255 = repaint.

        Returns:
            The map; its picture has the input's aspect ratio, its short side is `resolution` for most.

        Raises:
            WeightsMissing: If a file is neither there nor can be fetched; the message lists all of them.
            InvalidRequest: If the picture is empty, or the mask is missing where one is needed or of another size.
            WebuiError: If the preprocessor cannot run here; the message is the reason.
        """
        if self.unavailable:
            raise WebuiError(f"Preprocessor '{self.name}' cannot run here: {self.unavailable}")
        pixels = as_rgb(image)
        if self.requires_mask and mask is None:
            raise InvalidRequest(f"Preprocessor '{self.name}' needs a mask of what is to be repainted.")
        if mask is not None and mask.shape != pixels.shape[:2]:
            raise InvalidRequest(
                f"The mask has {mask.shape[1]}x{mask.shape[0]} pixels, the picture {pixels.shape[1]}x{pixels.shape[0]}."
            )
        wanted, slider_a, slider_b = self.settled(resolution=resolution, a=a, b=b)
        third = self.slider(3)
        made = self.run(
            Work(
                image=pixels,
                mask=mask,
                resolution=int(wanted) if self.resolution else 0,
                a=slider_a,
                b=slider_b,
                c=third.settled(c) if third else 0.5,
                seed=seed,
                runtime=runtime,
            )
        )
        return made if isinstance(made, ControlMap) else ControlMap(image=as_rgb(made))


def as_rgb(image: npt.NDArray[np.uint8]) -> Pixels:
    """(H, W, 3) of a grey, one-channel, RGB or RGBA picture; transparency is laid on white.

    Raises:
        InvalidRequest: If it is empty or has another number of channels.

    Source: sd-webui-controlnet annotator/util.py, HWC3.
    """
    assert image.dtype == np.uint8, f"pictures are uint8, not {image.dtype}"
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
        raise InvalidRequest(f"A picture of shape {image.shape} cannot be preprocessed.")
    if image.shape[2] == 1:
        return np.repeat(image, 3, axis=2)
    if image.shape[2] == 4:
        alpha = image[:, :, 3:].astype(np.float32) / 255
        mixed = image[:, :, :3].astype(np.float32) * alpha + 255 * (1 - alpha)
        return mixed.clip(0, 255).astype(np.uint8)
    return image


def unchanged(work: Work) -> ControlMap:
    """The picture itself with its mask; what "none" and those do whose work is the engine's."""
    return ControlMap(image=work.image, mask=work.mask)
