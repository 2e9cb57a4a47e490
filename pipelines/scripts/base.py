"""What a script is: declared arguments, what it is given, and how its answer is put together."""

import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image
from pydantic import ValidationError

from pipelines.registry import Registry
from pipelines.scripts.arguments import (
    Kind,
    Lists,
    Place,
    Presentation,
    ScriptArgument,
    ScriptTool,
    Values,
    described,
    read_value,
)
from pipelines.upscalers.base import OnTile, Upscaler, ignore_tiles
from schema.errors import InvalidRequest, WebuiError
from schema.requests import GenerationRequest, Img2ImgRequest
from schema.results import GeneratedImage, GenerationResult

MAX_SEED = 4294967294

RUN_ERRORS = (WebuiError, ValidationError, MemoryError, RuntimeError)
"""What one of many runs can fail with while the others go on; torch reports memory and shapes as RuntimeError."""


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
        place: What is installed here, and the kind of the request.
    """

    generate: Generate
    upscalers: Registry[Upscaler]
    save: SavePicture
    expect_jobs: Callable[[int], None]
    on_tile: OnTile = ignore_tiles
    background: str = "#ffffff"
    grid: GridStyle = field(default_factory=GridStyle)
    place: Place = field(default_factory=Place)


@dataclass(frozen=True, kw_only=True)
class Script(ABC):
    """One entry of the script list.

    Attributes:
        name: Title as the page shows it; requests name it in any case.
        arguments: In the order of `script_args`.
        tools: Buttons of the page.
        rows: Names of arguments and tools that stand beside each other; every other argument has a row of its own,
            in the place of its declaration.
        reacts_to: Arguments whose change may change what is shown of the others.
        is_txt2img, is_img2img: On which pages it is offered.
    """

    name: str
    aliases: tuple[str, ...] = ()
    arguments: tuple[ScriptArgument, ...] = ()
    tools: tuple[ScriptTool, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    reacts_to: tuple[str, ...] = ()
    is_txt2img: bool = False
    is_img2img: bool = True

    @property
    def title(self) -> str:
        """The name."""
        return self.name

    @property
    def elem_name(self) -> str:
        """The name as `elem_id`s have it. Source: A1111 modules/scripts.py, Script.elem_id."""
        return re.sub(r"[^a-z_0-9]", "", re.sub(r"\s", "_", self.name.lower()))

    def arguments_for(self, kind: Kind) -> tuple[ScriptArgument, ...]:
        """The arguments as the pages of `kind` have them."""
        return self.arguments

    def arg_info(self, lists: Lists | None = None, kind: Kind = "img2img") -> list[dict[str, Any]]:
        """The arguments as `/sdapi/v1/script-info` describes them.

        Args:
            lists: Entries of a live list ("upscalers"); without it such an argument has no choices.
        """
        return [described(argument, lists) for argument in self.arguments_for(kind)]

    def check(self, request: GenerationRequest, values: Values, place: Place) -> tuple[str, ...]:
        """What the user should know before it runs; called before the request waits in the queue.

        Raises:
            WebuiError: If a value cannot be used.
        """
        return ()

    def after(self, trigger: str, values: Values, place: Place) -> dict[str, Any]:
        """Values of arguments that change because argument or tool `trigger` was used on the page.

        Raises:
            WebuiError: If the tool cannot do its work.
        """
        return {}

    def layout(self) -> list[tuple[str, ...]]:
        """Names of arguments and tools row by row; rows of tools alone come last."""
        lines: list[tuple[str, ...]] = []
        for argument in self.arguments:
            line = next((row for row in self.rows if argument.name in row), (argument.name,))
            if line not in lines and not argument.note:
                lines.append(line)
        return [*lines, *(row for row in self.rows if row not in lines)]

    def presented(self, values: Values, place: Place) -> dict[str, Presentation]:
        """How arguments and tools are shown with these values; those left out are shown as declared."""
        return {}

    def from_infotext(self, fields: Mapping[str, Any], place: Place) -> dict[str, Any]:
        """Values of arguments that the record of a picture tells; unreadable ones are left out."""
        values: dict[str, Any] = {}
        for argument in self.arguments_for(place.kind):
            if argument.infotext and argument.infotext in fields:
                try:
                    values[argument.name] = read_value(self.name, argument, fields[argument.infotext])
                except InvalidRequest:
                    continue
        return values

    @abstractmethod
    def run(self, request: GenerationRequest, values: Mapping[str, Any], services: ScriptServices) -> GenerationResult:
        """The result of the whole program for `request`.

        Args:
            values: From `read_arguments`.

        Raises:
            InvalidRequest: If the request lacks what the script needs.
        """


def read_arguments(script: Script, given: Sequence[Any], kind: Kind = "img2img") -> dict[str, Any]:
    """Values by name from positional `script_args`; missing ones take their default, further ones are ignored.

    Raises:
        InvalidRequest: If a value has the wrong type, is out of range or not among the choices.
    """
    values: dict[str, Any] = {}
    for index, argument in enumerate(script.arguments_for(kind)):
        if not argument.note:
            value = given[index] if index < len(given) and given[index] is not None else argument.default
            values[argument.name] = () if value is None else read_value(script.name, argument, value)
    return values


def kind_of(request: GenerationRequest) -> Kind:
    """Which pages offer the scripts for `request`."""
    return "img2img" if isinstance(request, Img2ImgRequest) else "txt2img"


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
