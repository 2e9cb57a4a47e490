"""Preprocessors of the extension that cannot run here, each with the reason."""

from __future__ import annotations

from preprocessors.base import Parameter, Preprocessor, unchanged

_DENSEPOSE = (
    "its network is published only as a TorchScript program that calls compiled operators of torchvision, and"
    " programs inside weight files are not run."
)

PREPROCESSORS = (
    Preprocessor(
        name="densepose",
        label="densepose (pruple bg & purple torso)",
        types=("OpenPose",),
        run=unchanged,
        unavailable=_DENSEPOSE,
    ),
    Preprocessor(
        name="densepose_parula",
        label="densepose_parula (black bg & blue torso)",
        types=("OpenPose",),
        run=unchanged,
        unavailable=_DENSEPOSE,
    ),
    Preprocessor(
        name="depth_hand_refiner",
        types=("Depth",),
        run=unchanged,
        unavailable="it needs the mediapipe and hand_refiner packages, which do not install beside the others.",
    ),
    Preprocessor(
        name="mediapipe_face",
        types=(),
        run=unchanged,
        sliders=(
            Parameter(label="Max Faces", minimum=1, maximum=10, default=1),
            Parameter(label="Min Face Confidence", minimum=0.01, maximum=1, default=0.5, step=0.01),
        ),
        unavailable="it needs the mediapipe package, beside which the library of most others does not load.",
    ),
    Preprocessor(
        name="facexlib",
        types=(),
        run=unchanged,
        resolution=None,
        returns_image=False,
        unavailable="it is a part of PuLID, which is not built.",
    ),
)
