"""What infotexts of old releases meant: versions, first-pass sizes, changed behaviour, styles of hires prompts."""

import math
import re
from collections.abc import Callable
from typing import Any

from packaging.version import InvalidVersion, Version

_GIT_DESCRIPTION = re.compile(r"([^-]+-[^-]+)-.*")
_OLD_FIRST_PASS_PIXELS = 512 * 512
_LONGEST_SIDE_DIGITS = 6

_PROMPT_EDITING_CHANGED = Version("1.6.0")
_ALPHAS_CHANGED = Version("1.7.0-225")
_REFINER_CHANGED = Version("1.8.0")
_HIRES_PROMPTS_WITH_STYLES = Version("1.8.0-139")


def parse_version(text: str | None) -> Version | None:
    """The release an infotext was written by, without the commit of `git describe`; None if it cannot be told.

    Source: A1111 modules/infotext_versions.py, parse_version.
    """
    if text is None:
        return None
    description = _GIT_DESCRIPTION.match(text)
    try:
        return Version(description[1] if description else text)
    except InvalidVersion:
        return None


def apply_version_rules(fields: dict[str, Any]) -> None:
    """Adds the options under which the release that wrote `fields` would make the same picture.

    Source: A1111 modules/infotext_versions.py, backcompat.
    """
    version = parse_version(fields.get("Version"))
    if version is None:
        return
    if version < _PROMPT_EDITING_CHANGED:
        if "[" in fields.get("Prompt", ""):
            fields["Old prompt editing timelines"] = True
        if fields.get("Sampler", "") in ("DDIM", "PLMS"):
            fields["Pad conds v0"] = True
    if version < _ALPHAS_CHANGED:
        fields["Downcast alphas_cumprod"] = True
    if version < _REFINER_CHANGED and fields.get("Refiner"):
        fields["Refiner switch by sampling steps"] = True


def restore_old_hires_size(fields: dict[str, Any], *, slider_is_final_size: bool) -> None:
    """Translates `First pass size`: the size of then is the size after hires fix of now.

    Args:
        slider_is_final_size: The option that keeps the old meaning; then the hires size becomes the size.

    Source: A1111 modules/infotext_utils.py, restore_old_hires_fix_params.
    """
    if slider_is_final_size:
        hires = _side(fields, "Hires resize-1", 0), _side(fields, "Hires resize-2", 0)
        if all(hires):
            fields["Size-1"], fields["Size-2"] = hires
            return
    if "First pass size-1" not in fields or "First pass size-2" not in fields:
        return
    first = _side(fields, "First pass size-1", 0), _side(fields, "First pass size-2", 0)
    size = _side(fields, "Size-1", 512), _side(fields, "Size-2", 512)
    if not all(first):
        first = old_first_pass_size(*size)
    fields["Size-1"], fields["Size-2"] = first
    fields["Hires resize-1"], fields["Hires resize-2"] = size


def _side(fields: dict[str, Any], key: str, default: int) -> int:
    """The pixels that `key` says; `default` where it is absent or no sensible number."""
    text = str(fields.get(key, default))
    return int(text) if text.isdecimal() and len(text) <= _LONGEST_SIDE_DIGITS else default


def old_first_pass_size(width: int, height: int) -> tuple[int, int]:
    """Pixels that the old hires fix sampled first: about 512 x 512 in the same shape, sides rounded up to 64.

    Source: A1111 modules/processing.py, old_hires_fix_first_pass_dimensions.
    """
    scale = math.sqrt(_OLD_FIRST_PASS_PIXELS / max(width * height, 1))
    return math.ceil(scale * width / 64) * 64, math.ceil(scale * height / 64) * 64


def compare_styles_of_hires(
    fields: dict[str, Any],
    *,
    prompts: tuple[str, str],
    found: tuple[list[str], str, str],
    extract_styles: Callable[[str, str], tuple[list[str], str, str]],
) -> bool:
    """Whether the hires prompts have the same styles as the prompts, so that they may be taken out of both.

    True also where there is nothing to compare. Hires prompts that are left the same as the others become empty.
    Releases up to 1.8.0-139 did not apply styles to hires prompts.
    """
    version = parse_version(fields.get("Version"))
    if not {"Hires prompt", "Hires negative prompt"} & fields.keys():
        return True
    if version is not None and version <= _HIRES_PROMPTS_WITH_STYLES:
        return True
    names, prompt, negative_prompt = extract_styles(
        fields.get("Hires prompt", prompts[0]), fields.get("Hires negative prompt", prompts[1])
    )
    if names != found[0]:
        return False
    fields["Hires prompt"] = "" if prompt == found[1] else prompt
    fields["Hires negative prompt"] = "" if negative_prompt == found[2] else negative_prompt
    return True
