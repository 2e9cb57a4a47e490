"""The generation record kept in every picture: writing it, and reading it in all the forms it has had.

Source: A1111 modules/infotext_utils.py and modules/processing.py, create_infotext.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from schema.fields import fields_of
from schema.infotext_compat import apply_version_rules, compare_styles_of_hires, restore_old_hires_size
from schema.settings import Settings

NEGATIVE_PROMPT = "Negative prompt:"

MINIMUM_PAIRS = 3
"""Fewer `key: value` pairs than this in the last line, and it belongs to the prompt."""

FIXED_KEYS = (
    "Steps",
    "Sampler",
    "Schedule type",
    "CFG scale",
    "Image CFG scale",
    "Seed",
    "Face restoration",
    "Size",
    "Model hash",
    "Model",
    "FP8 weight",
    "Cache FP16 weight for LoRA",
    "VAE hash",
    "VAE",
    "Variation seed",
    "Variation seed strength",
    "Seed resize from",
    "Denoising strength",
    "Conditional mask weight",
    "Clip skip",
    "ENSD",
    "Token merging ratio",
    "Token merging ratio hr",
    "Init image hash",
    "RNG",
    "Tiling",
)
"""Keys with a fixed place, in order; everything else follows in the order it was added."""

EXTRA_KEYS = (
    "Hires checkpoint",
    "Hires sampler",
    "Hires prompt",
    "Hires negative prompt",
    "Hires schedule type",
    "Hires CFG scale",
    "Hires upscale",
    "Hires resize",
    "Hires steps",
    "Hires upscaler",
    "Soft inpainting enabled",
    "Soft inpainting schedule bias",
    "Soft inpainting preservation strength",
    "Soft inpainting transition contrast boost",
    "Soft inpainting mask influence",
    "Soft inpainting difference threshold",
    "Soft inpainting difference contrast",
    "Mask mode",
    "Mask blur",
    "Inpaint area",
    "Masked area padding",
    "Masked content",
    "Refiner",
    "Refiner switch at",
)
"""Order in which A1111 adds the further keys that come from the request."""

DEFAULTS: Mapping[str, Any] = {
    "Clip skip": "1",
    "Hires resize-1": 0,
    "Hires resize-2": 0,
    "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler",
    "Hires checkpoint": "Use same checkpoint",
    "Hires prompt": "",
    "Hires negative prompt": "",
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": 32,
    "RNG": "GPU",
    "Schedule type": "Automatic",
    "Schedule max sigma": 0,
    "Schedule min sigma": 0,
    "Schedule rho": 0,
    "VAE Encoder": "Full",
    "VAE Decoder": "Full",
    "FP8 weight": "Disable",
    "Refiner switch by sampling steps": False,
}
"""What a key means that is absent: writers leave out values that change nothing."""

_KEY_CHARACTERS = re.compile(r"[\w \-/]+")
_KEY = re.compile(r"\w[\w \-/]+")
_VALUE = re.compile(
    r"""\s*
    ("(?:\\.|[^\\"])+"|[^,]*)       # JSON-like string with backslash escapes, or anything up to a comma
    (?:,|$)""",
    re.VERBOSE,
)
_SIZE = re.compile(r"(\d+)x(\d+)")
_SPECIAL = frozenset(",:\n")

StyleExtractor = Callable[[str, str], tuple[list[str], str, str]]
"""Prompt and negative prompt → names of the styles found in them, and both without those (`schema.styles`)."""


def quote(value: object) -> str:
    """`value` as it stands in the record: as a JSON string when it has a comma, a colon or a line break."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if _SPECIAL & set(text) else text


def unquote(text: str) -> str:
    """The value behind `text`; text that is not a JSON string stands for itself."""
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text


def format_infotext(prompt: str, negative_prompt: str, parameters: Mapping[str, object]) -> str:
    """The record: prompt, negative prompt if there is one, and `parameters` as one line.

    None values are left out; a key equal to its value stands alone.
    """
    pairs = (
        key if key == value else f"{key}: {quote(value)}" for key, value in parameters.items() if value is not None
    )
    negative = f"\n{NEGATIVE_PROMPT} {negative_prompt}" if negative_prompt else ""
    return f"{prompt}{negative}\n{', '.join(pairs)}".strip()


def order_parameters(base: Mapping[str, object], extra: Mapping[str, object]) -> dict[str, object]:
    """All parameters in A1111's order: fixed keys, then `extra` in its own order.

    A fixed key that `extra` has too keeps its place and takes the value of `extra`.
    """
    fixed = {key: base.get(key) for key in FIXED_KEYS}
    return fixed | {key: value for key, value in base.items() if key not in fixed} | dict(extra)


def request_parameters(request: BaseModel, resolved: Mapping[str, object] | None = None) -> dict[str, object]:
    """What `request` itself says, as `key: value` in A1111's order; only fields that declare an infotext key.

    Values keep their type, so that a number prints as Python prints it (7.0 for a float). Names stand for numbers
    where the field declares them, both parts of a size are joined with an `x`.

    Args:
        resolved: Values that replace what the request says, or add to it; None takes a key out.
    """
    found: dict[str, list[object]] = {}
    for key, value in _declared(request):
        if value is not None and value != "":
            found.setdefault(key, []).append(value)
    joined = {key: "x".join(map(str, values)) if len(values) > 1 else values[0] for key, values in found.items()}
    joined |= resolved or {}
    order = {key: place for place, key in enumerate((*FIXED_KEYS, *EXTRA_KEYS))}
    keys = sorted(joined, key=lambda key: order.get(key, len(order)))
    return {key: joined[key] for key in keys if joined[key] is not None}


def _declared(request: BaseModel) -> Iterable[tuple[str, object]]:
    for declared in fields_of(type(request)):
        place = declared.control.infotext
        if place and place.when(request):
            value = getattr(request, declared.name)
            yield place.key, place.names[int(value)] if place.names else value
    for name in type(request).model_fields:
        group = getattr(request, name)
        if isinstance(group, BaseModel) and getattr(group, "enabled", False):
            yield from _declared(group)


@dataclass(frozen=True, kw_only=True)
class ParsedInfotext:
    """A record read back.

    Attributes:
        fields: A1111's dictionary: `Prompt`, `Negative prompt`, every key as text (`Size` as `Size-1` and `Size-2`),
            absent keys filled in, `Styles array` when styles were found.
        written: Keys that stood in the text, before anything was filled in.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    written: frozenset[str] = frozenset()

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`."""
        return self.fields.get(key, default)


def parse_infotext(
    text: str,
    *,
    settings: Settings | None = None,
    extract_styles: StyleExtractor | None = None,
    uses_emphasis: Callable[[str], bool] | None = None,
    skip_fields: Iterable[str] | None = None,
) -> ParsedInfotext:
    """Reads a record of A1111 1.0 to 1.10, Forge, Civitai and others; damaged parts are passed over.

    Args:
        settings: For `infotext_styles`, `infotext_skip_pasting`, `auto_backcompat`, `use_old_hires_fix_width_height`.
        extract_styles: Finds known styles in prompts; None leaves prompts as they are.
        uses_emphasis: Whether a prompt weights any part of itself; without it "Emphasis" is not filled in.
        skip_fields: Keys to leave out, instead of `infotext_skip_pasting`.

    Source: A1111 modules/infotext_utils.py, parse_generation_parameters.
    """
    settings = settings or Settings()
    prompt, negative_prompt, line = _split(text)
    fields = _pairs(line)
    written = frozenset(fields)
    if extract_styles and settings.infotext_styles != "Ignore":
        prompt, negative_prompt = _without_styles(
            prompt, negative_prompt, fields, extract_styles=extract_styles, mode=settings.infotext_styles
        )
    fields["Prompt"], fields["Negative prompt"] = prompt, negative_prompt
    if uses_emphasis and "Emphasis" not in fields and (uses_emphasis(prompt) or uses_emphasis(negative_prompt)):
        fields["Emphasis"] = "Original"
    _fill_in(fields, settings)
    for key in settings.infotext_skip_pasting if skip_fields is None else skip_fields:
        fields.pop(key, None)
    return ParsedInfotext(fields=fields, written=written)


def _split(text: str) -> tuple[str, str, str]:
    """Prompt, negative prompt and parameter line of `text`; the line is empty if there is none."""
    *lines, last = text.strip().split("\n")
    if len(list(_find_pairs(last))) < MINIMUM_PAIRS:
        lines.append(last)
        last = ""
    parts: tuple[list[str], list[str]] = ([], [])
    is_negative = False
    for line in map(str.strip, lines):
        if line.startswith(NEGATIVE_PROMPT):
            is_negative = True
            line = line.removeprefix(NEGATIVE_PROMPT).strip()
        # An empty line is kept only after something, as in A1111.
        if line or any(parts[is_negative]):
            parts[is_negative].append(line)
    return "\n".join(parts[0]), "\n".join(parts[1]), last


def _find_pairs(line: str) -> Iterator[tuple[str, str]]:
    """Every `key: value` found anywhere in `line`, values as they stand there.

    A key has at least two characters. One pass over the runs of characters that keys are made of: searching for the
    whole pair takes quadratic time on a long prompt without colons.
    """
    position = 0
    while run := _KEY_CHARACTERS.search(line, position):
        position = run.end()
        key = _KEY.search(line, run.start(), run.end())
        if key and line.startswith(":", position):
            value = _VALUE.match(line, position + 1)
            assert value, "anything up to a comma always matches"
            yield key[0], value[1]
            position = value.end()


def _pairs(line: str) -> dict[str, Any]:
    """Every `key: value` of `line`, unquoted; `AxB` becomes `key-1` and `key-2`, empty values are dropped."""
    fields: dict[str, Any] = {}
    for key, raw in _find_pairs(line):
        if not raw:
            continue
        value = unquote(raw)
        if size := _SIZE.fullmatch(value):
            fields[f"{key}-1"], fields[f"{key}-2"] = size.groups()
        else:
            fields[key] = value
    return fields


def _without_styles(
    prompt: str, negative_prompt: str, fields: dict[str, Any], *, extract_styles: StyleExtractor, mode: str
) -> tuple[str, str]:
    """Both prompts without the styles in them, which go to `Styles array` unless `mode` discards them."""
    names, plain, plain_negative = extract_styles(prompt, negative_prompt)
    if not compare_styles_of_hires(
        fields, prompts=(prompt, negative_prompt), found=(names, plain, plain_negative), extract_styles=extract_styles
    ):
        return prompt, negative_prompt
    if mode == "Apply" or (mode == "Apply if any" and names):
        fields["Styles array"] = names
    return plain, plain_negative


def _fill_in(fields: dict[str, Any], settings: Settings) -> None:
    """Adds what absent keys mean and translates what old releases wrote."""
    if "Hypernet" in fields:
        fields["Prompt"] += f"<hypernet:{fields['Hypernet']}:{fields.get('Hypernet strength', '1.0')}>"
    for key, value in DEFAULTS.items():
        fields.setdefault(key, value)
    restore_old_hires_size(fields, slider_is_final_size=settings.use_old_hires_fix_width_height)
    if fields["FP8 weight"] != "Disable":
        fields.setdefault("Cache FP16 weight for LoRA", False)
    if settings.auto_backcompat:
        apply_version_rules(fields)
