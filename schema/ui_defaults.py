"""Page defaults as ui-config.json holds them: A1111's key for each control, and which of its values can be used."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

A1111_TABS = {"inpaint": "img2img", "pnginfo": "pnginfo", "merger": "modelmerger"}
"""Tab of ours → the tab in which A1111 has its controls, where the names differ."""

_SCRIPT_FILES = {
    "sampler.py": ("Sampling method", "Schedule type", "Sampling steps"),
    "seed.py": (
        "Seed",
        "Extra",
        "Variation seed",
        "Variation strength",
        "Resize seed from width",
        "Resize seed from height",
    ),
    "refiner.py": ("Refiner", "Switch at"),
    "soft_inpainting.py": (
        "Soft inpainting",
        "Schedule bias",
        "Preservation strength",
        "Transition contrast boost",
        "Mask influence",
        "Difference threshold",
        "Difference contrast",
    ),
    "postprocessing_upscale.py": (
        "Upscale",
        "Upscaler 1",
        "Upscaler 2",
        "Upscaler 2 visibility",
        "Resize",
        "Max side length",
        "Crop to fit",
    ),
    "postprocessing_gfpgan.py": ("GFPGAN",),
    "postprocessing_codeformer.py": ("CodeFormer",),
    "postprocessing_focal_crop.py": (
        "Auto focal point crop",
        "Focal point face weight",
        "Focal point entropy weight",
        "Focal point edges weight",
        "Create debug image",
    ),
    "postprocessing_autosized_crop.py": (
        "Auto-sized crop",
        "Dimension lower bound",
        "Dimension upper bound",
        "Area lower bound",
        "Area upper bound",
        "Resizing objective",
        "Error threshold",
    ),
    "postprocessing_split_oversized.py": ("Split oversized images", "Threshold", "Overlap ratio"),
    "postprocessing_create_flipped_copies.py": ("Create flipped copies",),
    "postprocessing_caption.py": ("Caption",),
}
_FILE_OF = {label: file for file, labels in _SCRIPT_FILES.items() for label in labels}

_BY_ID = {
    "hr_checkpoint": "{tab}/Checkpoint",
    "{tab}_refiner_checkpoint": "customscript/refiner.py/{tab}/Checkpoint",
    "extras_upscaling_resize_w": "customscript/postprocessing_upscale.py/extras/Width",
    "extras_upscaling_resize_h": "customscript/postprocessing_upscale.py/extras/Height",
    "extras_gfpgan_visibility": "customscript/postprocessing_gfpgan.py/extras/Visibility",
    "extras_codeformer_visibility": "customscript/postprocessing_codeformer.py/extras/Visibility",
    "extras_codeformer_weight": (
        "customscript/postprocessing_codeformer.py/extras/Weight (0 = maximum effect, 1 = minimum effect)"
    ),
}
"""Controls that A1111 labels otherwise, or whose label it uses twice in a tab."""

_SCRIPT_ARGUMENT = re.compile(
    r"script_(?:txt2img_|img2img_|inpaint_)?(prompt_matrix|prompts_from_file_or_textbox|xyz_plot|loopback|"
    r"outpainting_mk2|poor_mans_outpainting|sd_upscale)_"
)
_SCRIPT_MODULES = {
    "prompts_from_file_or_textbox": "prompts_from_file.py",
    "xyz_plot": "xyz_grid.py",
    "outpainting_mk2": "outpainting_mk_2.py",
}

REFUSED = "{tab}: {label} cannot be {value}. Its own default is used."
BAD_RANGE = "{tab}: {label} cannot go from {low} to {high} in steps of {step}. Its own range is used."
SHAPES = ("minimum", "maximum", "step")
"""What a slider takes over besides its value."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """A control as far as its defaults are concerned.

    Attributes:
        id: Its `elem_id`.
        accepts: Whether it may hold a value.
        names: Words that A1111 writes for the values ("Just resize" → 0).
        is_slider: Whether minimum, maximum and step mean something.
    """

    id: str
    tab: str
    label: str
    accepts: Callable[[Any], bool]
    names: Mapping[str, Any]
    is_slider: bool = False


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the file says about the page.

    Attributes:
        changes: `elem_id` → property → value, for properties that can be used.
        refused: Sentences about values that cannot be used.
        unknown: Keys that no control of this page has; they stay in the file.
    """

    changes: Mapping[str, Mapping[str, Any]]
    refused: tuple[str, ...]
    unknown: tuple[str, ...]


def stems(control: Control) -> tuple[str, ...]:
    """The beginnings of a control's keys, `tab/label`, the one that is written first.

    A tab that A1111 does not have is looked for under its own name and then under the name of the tab it came from.

    Source: A1111 modules/ui_loadsave.py, UiLoadsave.add_component; modules/scripts.py (customscript_path).
    """
    found: list[str] = []
    for tab in dict.fromkeys((control.tab, A1111_TABS.get(control.tab, control.tab))):
        for pattern, stem in _BY_ID.items():
            if control.id == pattern.format(tab=control.tab):
                found.append(stem.format(tab=tab))
        if file := _script_file(control):
            found.append(f"customscript/{file}/{tab}/{control.label}")
        found.append(f"{tab}/{control.label}")
    return tuple(dict.fromkeys(found))


def _script_file(control: Control) -> str | None:
    """The file of A1111 that has this control, for one that is not in its main page."""
    if argument := _SCRIPT_ARGUMENT.match(control.id):
        return _SCRIPT_MODULES.get(argument[1], f"{argument[1]}.py")
    file = _FILE_OF.get(control.label)
    return file if file and file.startswith("postprocessing_") == (control.tab == "extras") else None


def key_stems(controls: Iterable[Control]) -> dict[str, tuple[str, ...]]:
    """`elem_id` → `stems`, each key for one control: a label that comes again in its tab gets the id added."""
    taken: set[str] = set()
    answer: dict[str, tuple[str, ...]] = {}
    for control in controls:
        own = stems(control)
        # Only the stem that is written must be one control's; the A1111 tab behind it may serve several of ours.
        if own[0] in taken:
            own = (f"{control.tab}/{control.label}@{control.id}",)
        taken.add(own[0])
        answer[control.id] = own
    return answer


def read_defaults(values: Mapping[str, Any], controls: Iterable[Control]) -> Found:
    """What `values` (of ui-config.json) change on a page of `controls`."""
    controls = list(controls)
    changes: dict[str, dict[str, Any]] = {}
    refused: list[str] = []
    known: set[str] = set()
    for control_id, own in key_stems(controls).items():
        control = next(each for each in controls if each.id == control_id)
        known |= {f"{stem}/{name}" for stem in own for name in ("value", "visible", *SHAPES)}
        written = {
            name: values[key]
            for stem in reversed(own)
            for name in ("value", "visible", *SHAPES)
            if (key := f"{stem}/{name}") in values
        }
        usable = _usable(control, written, refused)
        if usable:
            changes[control_id] = usable
    unknown = tuple(key for key in values if key not in known)
    return Found(changes=changes, refused=tuple(refused), unknown=unknown)


def _usable(control: Control, written: Mapping[str, Any], refused: list[str]) -> dict[str, Any]:
    usable: dict[str, Any] = {}
    if written.get("visible") is False:
        usable["visible"] = False
    # Where nothing is chosen A1111 writes null or an empty text.
    if written.get("value") not in (None, ""):
        value = written["value"]
        value = control.names.get(value, value) if isinstance(value, str) else value
        if control.accepts(value):
            usable["value"] = value
        else:
            refused.append(REFUSED.format(tab=control.tab, label=control.label, value=repr(written["value"])))
    if control.is_slider:
        usable |= _shape(control, written, refused)
    return usable


def _shape(control: Control, written: Mapping[str, Any], refused: list[str]) -> dict[str, float]:
    shape = {name: written[name] for name in SHAPES if isinstance(written.get(name), int | float)}
    low, high, step = shape.get("minimum"), shape.get("maximum"), shape.get("step")
    if (low is not None and high is not None and low >= high) or (step is not None and step <= 0):
        refused.append(BAD_RANGE.format(tab=control.tab, label=control.label, low=low, high=high, step=step))
        return {}
    return shape


def written_defaults(shown: Mapping[str, Any], controls: Iterable[Control]) -> dict[str, Any]:
    """The entries of ui-config.json for values that the page shows, `elem_id` → value, in A1111's words."""
    entries: dict[str, Any] = {}
    controls = list(controls)
    own = key_stems(controls)
    for control in controls:
        if control.id in shown:
            value = shown[control.id]
            entries[f"{own[control.id][0]}/value"] = next(
                (word for word, meant in control.names.items() if meant == value and type(meant) is type(value)), value
            )
    return entries
