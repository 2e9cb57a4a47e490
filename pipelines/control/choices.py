"""Control types: which preprocessors and models each of them offers.

Source: sd-webui-controlnet scripts/enums.py, supported_preprocessor.py and global_state.py, select_control_type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.checkpoints.model import Family
from preprocessors.catalogue import ALL_TYPES, CONTROL_TYPES, default_for, offered_for, preprocessor
from preprocessors.weights import WeightStore
from schema.controlnet import NO_MODEL, ControlNetUnit, UnionControlType
from schema.errors import UnknownName

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "InstructP2P": ("ip2p",),
    "Segmentation": ("seg",),
    "NormalMap": ("normal",),
    "T2I-Adapter": ("t2i_adapter", "t2iadapter", "t2ia"),
    "IP-Adapter": ("ip_adapter", "ipadapter"),
    "OpenPose": ("densepose",),
    "Instant-ID": ("instant_id", "instantid"),
    "Scribble": ("sketch",),
    "Tile": ("blur",),
}
_UNION_TYPES: Mapping[str, UnionControlType] = {
    "OpenPose": UnionControlType.OPENPOSE,
    "Depth": UnionControlType.DEPTH,
    "SoftEdge": UnionControlType.SOFT_EDGE,
    "Scribble": UnionControlType.SOFT_EDGE,
    "Canny": UnionControlType.HARD_EDGE,
    "Lineart": UnionControlType.HARD_EDGE,
    "MLSD": UnionControlType.HARD_EDGE,
    "NormalMap": UnionControlType.NORMAL_MAP,
    "Segmentation": UnionControlType.SEGMENTATION,
    "Tile": UnionControlType.TILE,
    "Inpaint": UnionControlType.INPAINT,
}
UNAVAILABLE_TYPES: Mapping[str, str] = {
    "Instant-ID": "Instant-ID needs a face recognition model that this program does not have yet.",
    "Revision": "Revision, SDXL's prompting with pictures, is not built yet; IP-Adapters for SDXL work.",
    "SparseCtrl": "SparseCtrl controls AnimateDiff videos, which this program does not make yet.",
}
"""Control types that are listed and cannot be used here, with the reason."""


@dataclass(frozen=True, kw_only=True)
class ControlTypeChoices:
    """What one control type offers.

    Attributes:
        module_list: Labels of its preprocessors, "none" first.
        model_list: "None" and the names of its models.
        default_option: Preprocessor chosen with the type.
        default_model: Model chosen with the type, or "None".
        problem: Why the type cannot be used here, or empty.
    """

    module_list: tuple[str, ...]
    model_list: tuple[str, ...]
    default_option: str
    default_model: str
    problem: str = ""


def control_types(
    models: Sequence[str], family: Family | None = None, weights: WeightStore | None = None
) -> dict[str, ControlTypeChoices]:
    """Every control type in display order, with the choices it leaves.

    Args:
        models: Names of all models, "name [hash]", without "None".
        family: Of the checkpoint in use; models that say they are of another are left out.
        weights: For defaults that can run here.
    """
    return {name: _choices(name, models, family, weights) for name in CONTROL_TYPES}


def _choices(
    control_type: str, models: Sequence[str], family: Family | None, weights: WeightStore | None
) -> ControlTypeChoices:
    fitting = models_for(control_type, models, family)
    return ControlTypeChoices(
        module_list=tuple(entry.label for entry in offered_for(control_type)),
        model_list=(NO_MODEL, *fitting),
        default_option=default_for(control_type, weights).label,
        default_model=NO_MODEL if control_type == ALL_TYPES else default_model(fitting),
        problem=UNAVAILABLE_TYPES.get(control_type, ""),
    )


def models_for(control_type: str, models: Iterable[str], family: Family | None = None) -> list[str]:
    """Those of `models` whose name holds the type or another word for it, and whose family may fit."""
    fitting = [name for name in models if family is None or may_fit(name, family)]
    if control_type == ALL_TYPES:
        return fitting
    words = [
        control_type.lower(),
        *_ALIASES.get(control_type, ()),
        *(["union"] if control_type in _UNION_TYPES else []),
    ]
    return [name for name in fitting if any(word in name.lower() for word in words)]


def default_model(models: Sequence[str]) -> str:
    """The first model of release 1.1 ("11" in its name), else the first, else "None"."""
    newest = next((name for name in models if "11" in name.split("[")[0]), None)
    return newest or next(iter(models), NO_MODEL)


def guessed_family(name: str) -> Family | None:
    """The family a model's name speaks of, or None.

    Source: sd-webui-controlnet scripts/enums.py, StableDiffusionVersion.detect_from_model_name.
    """
    text = name.lower()
    if any(word in text for word in ("sd14", "sd15", "sd16")):
        return Family.SD1
    if "sd21" in text or "2.1" in text:
        return Family.SD2
    return Family.SDXL if "xl" in text else None


def may_fit(name: str, family: Family) -> bool:
    """Whether a model of this name may be of the checkpoint's family: only XL against the rest is told apart."""
    guess = guessed_family(name)
    is_xl = family in (Family.SDXL, Family.SDXL_REFINER)
    return guess is None or (guess is Family.SDXL) == is_xl


def union_type(unit: ControlNetUnit) -> UnionControlType:
    """What a union network is told the unit's map is: as said, else by control type, else by preprocessor."""
    if unit.union_control_type is not UnionControlType.UNKNOWN:
        return unit.union_control_type
    if unit.control_type in _UNION_TYPES:
        return _UNION_TYPES[unit.control_type]
    try:
        types = preprocessor(unit.module).types
    except UnknownName:
        return UnionControlType.UNKNOWN
    return next((_UNION_TYPES[name] for name in types if name in _UNION_TYPES), UnionControlType.UNKNOWN)
