"""What a script is: declared arguments, what it is given, and how its answer is put together."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image

from pipelines.registry import Registry
from pipelines.upscalers.base import OnTile, Upscaler, ignore_tiles
from schema.errors import InvalidRequest
from schema.requests import GenerationRequest, Img2ImgRequest
from schema.results import GeneratedImage, GenerationResult

MAX_SEED = 4294967294


@dataclass(frozen=True, kw_only=True)
class ScriptArgument:
    """One positional argument of a script, as A1111's page shows it.

    Attributes:
        name: Key of the value given to `Script.run`; "" for a note.
        label: As on the page; "" for a note.
        default: Also decides the type: bool, int, float, str or a tuple of strings (several choices).
        choices: What may be chosen, or the name of a live list ("upscalers").
        note: Whether it is only text; it keeps its position in `script_args`.
    """

    name: str
    label: str
    default: bool | int | float | str | tuple[str, ...]
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[str, ...] | str | None = None
    note: bool = False


@dataclass(frozen=True, kw_only=True)
class Variation:
    """What a script adds to a request that no caller can say.

    Attributes:
        prompts, negative_prompts, seeds: One per picture instead of the request's one, or None.
        infotext: Fields written before those of the job itself.
        color_source: Picture whose colours correct the results, where colour correction is on.
    """

    prompts: tuple[str, ...] | None = None
    negative_prompts: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    infotext: Mapping[str, object] = field(default_factory=dict[str, object])
    color_source: Image.Image | None = None


class Generate(Protocol):
    """Runs one job."""

    def __call__(self, request: GenerationRequest, variation: Variation = ..., /) -> GenerationResult: ...


class SavePicture(Protocol):
    """Saves a picture that a script made, where the settings say so.

    Returns:
        The picture with its record and path; `grid` ones go to the grid folder.
    """

    def __call__(self, picture: GeneratedImage, /, *, basename: str = "", grid: bool = False) -> GeneratedImage: ...


@dataclass(frozen=True, kw_only=True)
class GridStyle:
    """Colours of contact sheets and their labels, and whether they are shown.

    Attributes:
        shown: `return_grid`; only_if_multiple: no sheet of a single picture.
        n_rows: Rows wanted; 0 for the batch size, -1 for a square.
    """

    shown: bool = True
    only_if_multiple: bool = True
    n_rows: int = -1
    prevent_empty_spots: bool = False
    background: str = "#ffffff"
    active_color: str = "#000000"
    inactive_color: str = "#999999"


@dataclass(frozen=True, kw_only=True)
class ScriptServices:
    """What a script may use.

    Attributes:
        expect_jobs: Told how many sampling runs will follow, for the progress.
        background: Colour under transparent source pictures.
    """

    generate: Generate
    upscalers: Registry[Upscaler]
    save: SavePicture
    expect_jobs: Callable[[int], None]
    on_tile: OnTile = ignore_tiles
    background: str = "#ffffff"
    grid: GridStyle = field(default_factory=GridStyle)


@dataclass(frozen=True, kw_only=True)
class Script(ABC):
    """One entry of the script list.

    Attributes:
        name: Title as the page shows it; requests name it in any case.
        arguments: In the order of `script_args`.
        is_txt2img, is_img2img: On which pages it is offered.
    """

    name: str
    aliases: tuple[str, ...] = ()
    arguments: tuple[ScriptArgument, ...] = ()
    is_txt2img: bool = False
    is_img2img: bool = True

    @property
    def title(self) -> str:
        """The name."""
        return self.name

    def arg_info(self, lists: Callable[[str], Sequence[str]] | None = None) -> list[dict[str, Any]]:
        """The arguments as `/sdapi/v1/script-info` describes them.

        Args:
            lists: Entries of a live list ("upscalers"); without it such an argument has no choices.
        """
        return [
            {
                "label": argument.label,
                "value": list(argument.default) if isinstance(argument.default, tuple) else argument.default,
                "minimum": argument.minimum,
                "maximum": argument.maximum,
                "step": argument.step,
                "choices": _choices(argument, lists),
            }
            for argument in self.arguments
        ]

    @abstractmethod
    def run(self, request: GenerationRequest, values: Mapping[str, Any], services: ScriptServices) -> GenerationResult:
        """The result of the whole program for `request`.

        Args:
            values: From `read_arguments`.

        Raises:
            InvalidRequest: If the request lacks what the script needs.
        """


def read_arguments(script: Script, given: Sequence[Any]) -> dict[str, Any]:
    """Values by name from positional `script_args`; missing ones take their default, further ones are ignored.

    Raises:
        InvalidRequest: If a value has the wrong type, is out of range or not among the choices.
    """
    values: dict[str, Any] = {}
    for index, argument in enumerate(script.arguments):
        if not argument.note:
            value = given[index] if index < len(given) and given[index] is not None else argument.default
            values[argument.name] = _read(script.name, argument, value)
    return values


def fixed_seed(seed: int) -> int:
    """`seed`, or a random one for -1.

    Source: A1111 modules/processing.py, get_fixed_seed.
    """
    return random.SystemRandom().randrange(MAX_SEED) if seed == -1 else seed


def with_fixed_seeds(request: GenerationRequest) -> GenerationRequest:
    """`request` with random seed and variation seed decided, so that all runs of a script share them."""
    return request.model_copy(update={"seed": fixed_seed(request.seed), "subseed": fixed_seed(request.subseed)})


def source_picture(request: GenerationRequest, script: str) -> Image.Image:
    """The first source picture of an img2img request.

    Raises:
        InvalidRequest: If there is none.
    """
    if not isinstance(request, Img2ImgRequest) or not request.init_images:
        raise InvalidRequest(f"Script '{script}' needs a picture: give one in init_images of img2img.")
    return request.init_images[0]


def composed(
    first: GenerationResult, image: Image.Image, *, seed: int | None = None, is_grid: bool = False
) -> GeneratedImage:
    """A picture put together by a script, with the record of the first picture of `first`."""
    made = first.images[0]
    return GeneratedImage(
        image=image,
        infotext=made.infotext,
        seed=made.seed if seed is None else seed,
        subseed=made.subseed,
        prompt=made.prompt,
        negative_prompt=made.negative_prompt,
        is_grid=is_grid,
    )


def answer(
    results: Sequence[GenerationResult], pictures: Sequence[GeneratedImage], *, index_of_first_image: int = 0
) -> GenerationResult:
    """The result of a script: `pictures`, every one described by the first run's record.

    The rest of `info` is that of the last run, as in A1111.

    Source: A1111 modules/processing.py, Processed.__init__.
    """
    first, last = results[0], results[-1]
    made = first.images[0] if first.images else None
    info = dict(last.info)
    if made is not None:
        info |= {"seed": made.seed, "infotexts": [made.infotext] * len(pictures)}
    return GenerationResult(
        images=tuple(pictures),
        info=info | {"index_of_first_image": index_of_first_image},
        notes=tuple(dict.fromkeys(note for result in results for note in result.notes)),
        interrupted=any(result.interrupted for result in results),
    )


def _choices(argument: ScriptArgument, lists: Callable[[str], Sequence[str]] | None) -> list[str] | None:
    if isinstance(argument.choices, str):
        return list(lists(argument.choices)) if lists else None
    return None if argument.choices is None else list(argument.choices)


def _read(script: str, argument: ScriptArgument, value: Any) -> Any:
    default = argument.default
    where = f"Script '{script}', '{argument.label}'"
    if isinstance(default, bool):
        return bool(value)
    if isinstance(default, tuple):
        chosen = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else None
        if chosen is None or not set(chosen) <= set(argument.choices or ()):
            raise InvalidRequest(f"{where}: {value!r} is not a list out of {', '.join(argument.choices or ())}.")
        return tuple(chosen)
    if isinstance(default, int | float):
        return _read_number(where, argument, value)
    if isinstance(argument.choices, tuple):
        return _read_choice(where, argument.choices, value)
    return str(value)


def _read_number(where: str, argument: ScriptArgument, value: Any) -> int | float:
    try:
        number = int(value) if isinstance(argument.default, int) else float(value)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"{where}: {value!r} is not a number.") from error
    low, high = argument.minimum, argument.maximum
    if (low is not None and not number >= low) or (high is not None and not number <= high):
        raise InvalidRequest(f"{where}: {number} is not between {low} and {high}.")
    return number


def _read_choice(where: str, choices: tuple[str, ...], value: Any) -> str:
    """One of `choices`, by name in any case or by position, as A1111's radio buttons take both."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
        return choices[value]
    found = next((choice for choice in choices if choice.casefold() == str(value).casefold()), None)
    if found is None:
        raise InvalidRequest(f"{where}: {value!r} is not one of {', '.join(choices)}.")
    return found
