"""Lines of prompts: plain text, or `--name value` pairs that change the request for one line.

Source: A1111 scripts/prompts_from_file.py, prompt_tags and cmdargs.
"""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.sampling.catalogue import SAMPLERS
from pipelines.scripts.arguments import Lists
from pipelines.scripts.axes import checkpoint_names, with_field
from pipelines.scripts.axis_values import resolved
from schema.errors import InvalidRequest, WebuiError
from schema.requests import GenerationRequest

UNUSED = "the option --{name} changes nothing here"
FOLDERS = "folders are chosen on the Settings page, so --{name} was not used"


def _boolean(text: str) -> bool:
    return text.casefold() == "true"


OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "sd_model": str,
    "outpath_samples": str,
    "outpath_grids": str,
    "prompt_for_display": str,
    "prompt": str,
    "negative_prompt": str,
    "styles": str,
    "seed": int,
    "subseed_strength": float,
    "subseed": int,
    "seed_resize_from_h": int,
    "seed_resize_from_w": int,
    "sampler_index": int,
    "sampler_name": str,
    "batch_size": int,
    "n_iter": int,
    "steps": int,
    "cfg_scale": float,
    "width": int,
    "height": int,
    "restore_faces": _boolean,
    "tiling": _boolean,
    "do_not_save_samples": _boolean,
    "do_not_save_grid": _boolean,
}
"""Names that a line may set, with the type of their value."""

_TEXTS = ("prompt", "negative_prompt")
_NOTES: Mapping[str, str] = {"outpath_samples": FOLDERS, "outpath_grids": FOLDERS, "prompt_for_display": UNUSED}


@dataclass(frozen=True, kw_only=True)
class PromptLine:
    """One line that makes pictures.

    Attributes:
        number: Its place in the text, from 1.
        options: What it sets.
        notes: What of it is not used.
    """

    number: int
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: tuple[str, ...] = ()


def read_lines(text: str) -> list[PromptLine]:
    """The lines of `text` that are not empty; one that cannot be read as options is a prompt, with a note."""
    lines: list[PromptLine] = []
    for number, line in enumerate((line.strip() for line in text.splitlines()), 1):
        if not line:
            continue
        options: dict[str, Any] = {"prompt": line}
        notes: tuple[str, ...] = ()
        if "--" in line:
            try:
                options = read_options(line)
                notes = tuple(_NOTES[name].format(name=name) for name in options if name in _NOTES)
            except ValueError as error:
                notes = (f"it was taken as a prompt ({error})",)
        lines.append(
            PromptLine(number=number, options=options, notes=tuple(f"Line {number}: {note}." for note in notes))
        )
    return lines


def read_options(line: str) -> dict[str, Any]:
    """The pairs of a line `--prompt "a cat" --seed 5`; the words of a prompt need no quotes.

    Raises:
        ValueError: If a name is unknown, a value is missing or of the wrong type, or quotes do not match.
    """
    words = shlex.split(line)
    options: dict[str, Any] = {}
    place = 0
    while place < len(words):
        word = words[place]
        name = word.removeprefix("--")
        if name == word:
            raise ValueError(f"'{word}' does not start with --")
        if name not in OPTIONS:
            raise ValueError(f"--{name} is unknown")
        if place + 1 == len(words):
            raise ValueError(f"--{name} has no value")
        end = place + 2
        while name in _TEXTS and end < len(words) and not words[end].startswith("--"):
            end += 1
        value = " ".join(words[place + 1 : end])
        try:
            options[name] = OPTIONS[name](value)
        except ValueError as error:
            raise ValueError(f"--{name} cannot be '{value}'") from error
        place = end
    return options


def line_request(base: GenerationRequest, line: PromptLine, lists: Lists, *, at_start: bool) -> GenerationRequest:
    """`base` with the options of `line`; its prompts are joined with those of `base`.

    Args:
        at_start: Whether the line's words come first.

    Raises:
        InvalidRequest: If a value cannot be used, naming the line.
    """
    request = base
    try:
        for name, value in line.options.items():
            request = _with_option(request, name, value, lists)
    except WebuiError as error:
        raise InvalidRequest(f"Prompts from file or textbox, line {line.number}: {error}") from error
    for name in _TEXTS:
        own, shared = line.options.get(name), getattr(base, name)
        if own and shared:
            text = f"{own} {shared}" if at_start else f"{shared} {own}"
            request = request.model_copy(update={name: text})
    return request


def _with_option(request: GenerationRequest, name: str, value: Any, lists: Lists) -> GenerationRequest:
    match name:
        case "sd_model":
            title = resolved("Checkpoint", value, lists("checkpoints"), checkpoint_names)
            return request.model_copy(
                update={"override_settings": request.override_settings | {"sd_model_checkpoint": title}}
            )
        case "sampler_index":
            if not 0 <= value < len(SAMPLERS):
                raise InvalidRequest(f"--sampler_index must be between 0 and {len(SAMPLERS) - 1}, not {value}.")
            return with_field(request, "sampler_name", SAMPLERS.names[value])
        case "sampler_name":
            return with_field(request, name, SAMPLERS.get(value).name)
        case "styles":
            names = [part.strip() for part in value.split(",") if part.strip()]
            return request.model_copy(update={"styles": [resolved("Style", part, lists("styles")) for part in names]})
        case _:
            return request if name in _NOTES else with_field(request, name, value)
