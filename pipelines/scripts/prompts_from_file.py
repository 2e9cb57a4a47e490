"""Prompts from file or textbox: one job per line."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.scripts.arguments import Place, ScriptArgument, ScriptTool, Values
from pipelines.scripts.base import RUN_ERRORS, Script, ScriptServices, fixed_seed
from pipelines.scripts.prompt_lines import PromptLine, line_request, read_lines
from schema.errors import InvalidRequest
from schema.requests import GenerationRequest, Txt2ImgRequest
from schema.results import GenerationResult

MAX_LINES = 10_000


@dataclass(frozen=True, kw_only=True)
class PromptsFromFile(Script):
    """Runs the request once for every line, which gives a prompt or changes what it likes.

    Source: A1111 scripts/prompts_from_file.py.
    """

    name: str = "Prompts from file or textbox"
    is_txt2img: bool = True
    arguments: tuple[ScriptArgument, ...] = (
        ScriptArgument(name="iterate", label="Iterate seed every line", default=False, elem_id="checkbox_iterate"),
        ScriptArgument(
            name="same_seed",
            label="Use same random seed for all lines",
            default=False,
            elem_id="checkbox_iterate_batch",
        ),
        ScriptArgument(
            name="position",
            label="Insert prompts at the",
            default="start",
            choices=("start", "end"),
            radio=True,
            elem_id="prompt_position",
        ),
        ScriptArgument(
            name="prompts",
            label="List of prompt inputs",
            default="",
            lines=3,
            elem_id="prompt_txt",
            placeholder='one prompt per line, or: --prompt "a red ball" --steps 30 --seed 7',
        ),
    )
    tools: tuple[ScriptTool, ...] = (
        ScriptTool(name="file", label="Upload prompt inputs", takes_file=True, elem_id="file"),
    )
    rows: tuple[tuple[str, ...], ...] = (("iterate", "same_seed"), ("file",))

    def after(self, trigger: str, values: Values, place: Place) -> dict[str, Any]:
        """The text of an uploaded file fills the list of prompts."""
        if trigger != "file":
            return {}
        lines = (line.strip() for line in str(values["file"]).splitlines())
        return {"prompts": "\n".join(line for line in lines if line)}

    def check(self, request: GenerationRequest, values: Values, place: Place) -> tuple[str, ...]:
        """What of the lines is not used.

        Raises:
            InvalidRequest: If there is no line, or a line's value cannot be used.
        """
        lines = read_lines(values["prompts"])
        if not lines:
            raise InvalidRequest("Prompts from file or textbox: the list of prompts is empty.")
        if len(lines) > MAX_LINES:
            raise InvalidRequest(f"Prompts from file or textbox: {len(lines)} lines; at most {MAX_LINES} are accepted.")
        for line in lines:
            line_request(request, line, place.lists, at_start=True)
        return tuple(note for line in lines for note in line.notes)

    def run(self, request: GenerationRequest, values: Mapping[str, Any], services: ScriptServices) -> GenerationResult:
        """The pictures of all lines; a line that fails is noted and the others go on.

        Raises:
            InvalidRequest: If every line failed.
        """
        notes = list(self.check(request, values, services.place))
        lines = read_lines(values["prompts"])
        seed = fixed_seed(request.seed) if values["iterate"] or values["same_seed"] else request.seed
        shared = request.model_copy(update={"do_not_save_grid": True})
        passes = 2 if isinstance(request, Txt2ImgRequest) and request.enable_hr else 1
        services.expect_jobs(sum(line.options.get("n_iter", request.n_iter) for line in lines) * passes)
        results: list[GenerationResult] = []
        for line in lines:
            base = shared.model_copy(update={"seed": seed})
            wanted = line_request(base, line, services.place.lists, at_start=values["position"] == "start")
            result = _made(wanted, line, services, notes)
            if values["iterate"]:
                seed += request.batch_size * request.n_iter
            if result is None:
                continue
            results.append(result)
            if result.interrupted:
                break
        if not results:
            raise InvalidRequest(f"Prompts from file or textbox: no picture could be made. {notes[-1]}")
        return _joined(results, notes)


def _made(
    request: GenerationRequest, line: PromptLine, services: ScriptServices, notes: list[str]
) -> GenerationResult | None:
    try:
        return services.generate(request)
    except RUN_ERRORS as error:
        notes.append(f"Line {line.number} failed: {error}")
        return None


def _joined(results: list[GenerationResult], notes: list[str]) -> GenerationResult:
    """All pictures in one result, each with its own record; lists of `info` are joined.

    Source: A1111 scripts/prompts_from_file.py, Script.run.
    """
    images = tuple(image for result in results for image in result.images)
    lists = ("all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds")
    info = dict(results[0].info)
    info |= {name: [entry for result in results for entry in result.info.get(name, [])] for name in lists}
    info |= {"infotexts": [image.infotext for image in images], "index_of_first_image": 0}
    made = [note for result in results for note in result.notes]
    return GenerationResult(
        images=images,
        info=info,
        notes=tuple(dict.fromkeys([*notes, *made])),
        interrupted=any(result.interrupted for result in results),
    )
