"""X/Y/Z plot: pictures for every combination of up to three varied values, on labelled contact sheets."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipelines.scripts.arguments import Kind, Place, Presentation, ScriptArgument, ScriptTool, Values
from pipelines.scripts.axes import AXES, NOTHING, axes_for
from pipelines.scripts.axis_values import join_csv, split_csv
from pipelines.scripts.base import Script, ScriptServices, with_fixed_seeds
from pipelines.scripts.plot_axes import LETTERS, Letter
from pipelines.scripts.plot_run import PlotRun, read_plot
from schema.requests import GenerationRequest, Txt2ImgRequest
from schema.results import GenerationResult


def _axis_arguments(letter: Letter, kind: Kind) -> tuple[ScriptArgument, ...]:
    upper = letter.upper()
    names = tuple(axis.name for axis in axes_for(kind))
    return (
        ScriptArgument(
            name=f"{letter}_type",
            label=f"{upper} type",
            default="Seed" if letter == "x" else NOTHING,
            choices=names,
            infotext=f"{upper} Type",
        ),
        ScriptArgument(
            name=f"{letter}_values",
            label=f"{upper} values",
            default="",
            infotext=f"{upper} Values",
            placeholder="1-10 [5]   5-20 (+5)   a, b, c",
        ),
        ScriptArgument(
            name=f"{letter}_chosen",
            label=f"{upper} values",
            default=None,
            choices=(),
            elem_id=f"{letter}_values_dropdown",
        ),
    )


def _arguments(kind: Kind) -> tuple[ScriptArgument, ...]:
    return (
        *(argument for letter in LETTERS for argument in _axis_arguments(letter, kind)),
        ScriptArgument(name="draw_legend", label="Draw legend", default=True),
        ScriptArgument(name="include_lone_images", label="Include Sub Images", default=False),
        ScriptArgument(name="include_sub_grids", label="Include Sub Grids", default=False),
        ScriptArgument(name="no_fixed_seeds", label="Keep -1 for seeds", default=False),
        ScriptArgument(name="vary_seeds_x", label="Vary seeds for X", default=False),
        ScriptArgument(name="vary_seeds_y", label="Vary seeds for Y", default=False),
        ScriptArgument(name="vary_seeds_z", label="Vary seeds for Z", default=False),
        ScriptArgument(name="margin_size", label="Grid margins (px)", default=0, minimum=0, maximum=500, step=2),
        ScriptArgument(name="csv_mode", label="Use text inputs instead of dropdowns", default=False),
    )


_SWAPS: Mapping[str, tuple[Letter, Letter]] = {"swap_xy": ("x", "y"), "swap_yz": ("y", "z"), "swap_xz": ("x", "z")}


def _swap_tool(name: str, first: str, second: str) -> ScriptTool:
    return ScriptTool(
        name=name, label=f"Swap {first.upper()}/{second.upper()} axes", elem_id=f"{first}{second}_grid_swap_axes_button"
    )


def _fill_tool(letter: Letter) -> ScriptTool:
    return ScriptTool(
        name=f"fill_{letter}",
        label=f"Fill {letter.upper()} values with everything there is",
        icon="fill",
        elem_id=f"xyz_grid_fill_{letter}_tool_button",
    )


@dataclass(frozen=True, kw_only=True)
class XyzPlot(Script):
    """Varies up to three things at once.

    Source: A1111 scripts/xyz_grid.py.
    """

    name: str = "X/Y/Z plot"
    is_txt2img: bool = True
    arguments: tuple[ScriptArgument, ...] = field(default_factory=lambda: _arguments("txt2img"))
    tools: tuple[ScriptTool, ...] = (
        *(_fill_tool(letter) for letter in LETTERS),
        *(_swap_tool(name, *pair) for name, pair in _SWAPS.items()),
    )
    rows: tuple[tuple[str, ...], ...] = (
        *((f"{letter}_type", f"{letter}_values", f"{letter}_chosen", f"fill_{letter}") for letter in LETTERS),
        ("draw_legend", "no_fixed_seeds", "csv_mode"),
        ("include_lone_images", "include_sub_grids"),
        ("vary_seeds_x", "vary_seeds_y", "vary_seeds_z"),
        tuple(_SWAPS),
    )
    reacts_to: tuple[str, ...] = ("x_type", "y_type", "z_type", "csv_mode")

    def arguments_for(self, kind: Kind) -> tuple[ScriptArgument, ...]:
        """The arguments with the axes of `kind`."""
        return self.arguments if kind == "txt2img" else _arguments(kind)

    def check(self, request: GenerationRequest, values: Values, place: Place) -> tuple[str, ...]:
        """Every axis that changes nothing, in words.

        Raises:
            InvalidRequest: If a value cannot be used, or the sheet would become too large.
        """
        plot = read_plot(request, values, place)
        return tuple(
            f"{axis.letter.upper()} type '{axis.axis.name}': {reason}."
            for axis in plot.axes
            if (reason := axis.axis.idle(request))
        )

    def run(self, request: GenerationRequest, values: Mapping[str, Any], services: ScriptServices) -> GenerationResult:
        """The sheet of all pictures; then, where asked for, the sheet of each Z value, and the pictures."""
        notes = list(self.check(request, values, services.place))
        plot = read_plot(request, values, services.place)
        if not values["no_fixed_seeds"]:
            plot = replace(plot, request=with_fixed_seeds(plot.request), axes=plot.with_fixed_seeds())
        if not services.grid.shown:
            # A cell of several pictures is their sheet, which is not made then.
            plot = replace(plot, request=plot.request.model_copy(update={"batch_size": 1}))
        second_pass = isinstance(request, Txt2ImgRequest) and request.enable_hr
        services.expect_jobs(len(plot.cells) * request.n_iter * (2 if second_pass else 1))
        return PlotRun(plot=plot, values=values, services=services, notes=notes).run()

    def after(self, trigger: str, values: Values, place: Place) -> dict[str, Any]:
        """What "fill", "swap" and a change of an axis do to the values."""
        if trigger in _SWAPS:
            first, second = _SWAPS[trigger]
            parts = ("type", "values", "chosen")
            return {f"{first}_{part}": values[f"{second}_{part}"] for part in parts} | {
                f"{second}_{part}": values[f"{first}_{part}"] for part in parts
            }
        if trigger.startswith("fill_"):
            letter = trigger.removeprefix("fill_")
            names = _axis_choices(values, letter, place)
            if names is None:
                return {}
            key = "values" if values["csv_mode"] else "chosen"
            return {f"{letter}_{key}": join_csv(names) if values["csv_mode"] else list(names)}
        letters = LETTERS if trigger == "csv_mode" else (trigger[0],)
        return {name: value for letter in letters for name, value in _as_wanted(values, letter, place).items()}

    def presented(self, values: Values, place: Place) -> dict[str, Presentation]:
        """A list for axes that have one, unless text is wanted; else the text."""
        shown: dict[str, Presentation] = {}
        for letter in LETTERS:
            names = _axis_choices(values, letter, place)
            as_list = names is not None and not values["csv_mode"]
            shown[f"{letter}_values"] = Presentation(visible=not as_list)
            shown[f"{letter}_chosen"] = Presentation(visible=as_list, choices=names)
            shown[f"fill_{letter}"] = Presentation(visible=names is not None)
        return shown

    def from_infotext(self, fields: Mapping[str, Any], place: Place) -> dict[str, Any]:
        """Types and values of the axes that a record names, "Nothing" for the others."""
        found: dict[str, Any] = {"csv_mode": False}
        for letter in LETTERS:
            key = f"{letter.upper()} Values"
            # The parser takes one size apart.
            text = fields.get(key, f"{fields[f'{key}-1']}x{fields[f'{key}-2']}" if f"{key}-1" in fields else "")
            axis = AXES.find(str(fields.get(f"{letter.upper()} Type", NOTHING)))
            is_offered = axis is not None and place.kind in axis.kinds
            found |= {
                f"{letter}_type": axis.name if axis is not None and is_offered else NOTHING,
                f"{letter}_values": str(text) if is_offered else "",
                f"{letter}_chosen": [],
            }
            found |= _as_wanted(found, letter, place)
        return found


def _axis_choices(values: Values, letter: str, place: Place) -> tuple[str, ...] | None:
    axis = AXES.find(str(values[f"{letter}_type"]))
    return tuple(axis.choices(place.lists)) if axis is not None and axis.choices is not None else None


def _as_wanted(values: Values, letter: str, place: Place) -> dict[str, Any]:
    """The changes that bring the values of one axis into the form that is shown: chosen from its list, or as text.

    Source: A1111 scripts/xyz_grid.py, select_axis.
    """
    names = _axis_choices(values, letter, place)
    chosen, text = list(values[f"{letter}_chosen"] or ()), values[f"{letter}_values"] or ""
    if names is None:
        return {}
    known = [name for name in chosen if name in names]
    wanted: dict[str, Any] = {}
    if values["csv_mode"]:
        wanted = {f"{letter}_values": join_csv(known) if known else text, f"{letter}_chosen": []}
    elif text:
        wanted = {f"{letter}_values": "", f"{letter}_chosen": [name for name in split_csv(text) if name in names]}
    else:
        wanted = {f"{letter}_chosen": known}
    return {name: value for name, value in wanted.items() if value != (values[name] or type(value)())}
