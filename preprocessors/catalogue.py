"""The one list of preprocessors, in display order."""

from __future__ import annotations

from preprocessors import (
    absent,
    canny,
    depth,
    embeddings,
    inpaint,
    lineart,
    mini,
    mlsd,
    normal,
    onnx_pose,
    openpose,
    plain,
    recolor,
    reference,
    scribble,
    segmentation,
    shuffle,
    softedge,
    tile,
)
from preprocessors.base import Preprocessor
from preprocessors.weights import WeightStore
from schema.errors import UnknownName

_FAMILIES = (
    plain,
    canny,
    depth,
    normal,
    openpose,
    onnx_pose,
    mlsd,
    lineart,
    softedge,
    scribble,
    segmentation,
    shuffle,
    tile,
    inpaint,
    reference,
    recolor,
    embeddings,
    absent,
    mini,
)


def _in_order(entries: list[Preprocessor]) -> tuple[Preprocessor, ...]:
    """First "none", then by priority and label, both descending; our own small networks last of their type.

    Source: sd-webui-controlnet scripts/supported_preprocessor.py, get_sorted_preprocessors.
    """
    return tuple(sorted(entries, key=lambda entry: (entry.name == "none", entry.priority, entry.label), reverse=True))


PREPROCESSORS: tuple[Preprocessor, ...] = _in_order([entry for family in _FAMILIES for entry in family.PREPROCESSORS])
"""All of them; `name` and `aliases` are unique among them."""

ALL_TYPES = "All"

CONTROL_TYPES: tuple[str, ...] = (
    ALL_TYPES,
    "Canny",
    "Depth",
    "IP-Adapter",
    "Inpaint",
    "Instant-ID",
    "InstructP2P",
    "Lineart",
    "MLSD",
    "NormalMap",
    "OpenPose",
    "Recolor",
    "Reference",
    "Revision",
    "Scribble",
    "Segmentation",
    "Shuffle",
    "SoftEdge",
    "SparseCtrl",
    "T2I-Adapter",
    "Tile",
)
"""The control types in display order."""


def preprocessor(name: str) -> Preprocessor:
    """The preprocessor called `name`, which may be its label, in any case.

    Raises:
        UnknownName: If there is none; the message names the closest.
    """
    wanted = name.strip().casefold()
    for entry in PREPROCESSORS:
        if wanted in (entry.name.casefold(), entry.label.casefold()):
            return entry
    raise UnknownName("Preprocessor", name, [entry.name for entry in PREPROCESSORS])


def offered_for(control_type: str) -> tuple[Preprocessor, ...]:
    """The preprocessors that a control type offers, in order: "none" first."""
    if control_type == ALL_TYPES:
        return PREPROCESSORS
    return tuple(entry for entry in PREPROCESSORS if entry.name == "none" or control_type in entry.types)


def default_for(control_type: str, weights: WeightStore | None = None) -> Preprocessor:
    """The preprocessor that choosing a control type selects.

    Without `weights` the extension's: the first after "none". With it the first whose files are all here, so that
    our own small networks are chosen where nothing else is; the extension's where none is.
    """
    offered = offered_for(control_type)
    if control_type == ALL_TYPES or len(offered) == 1:
        return offered[0]
    able = [entry for entry in offered[1:] if not entry.unavailable]
    if weights is not None:
        able = [entry for entry in able if not weights.missing(entry.weights)] or able
    return able[0] if able else offered[1]
