"""An X/Y/Z plot while it is made: cell by cell, going on after failures, then the sheets with their records."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from pipelines.scripts.arguments import Place, Values
from pipelines.scripts.axes import NOTHING
from pipelines.scripts.base import RUN_ERRORS, ScriptServices
from pipelines.scripts.grid_labels import message_cell
from pipelines.scripts.plot_axes import LETTERS, Cell, PlottedAxis, read_axis, run_order
from pipelines.scripts.plot_grid import Legend, PlotSheets, draw_plot
from schema.errors import InvalidRequest, OutputError
from schema.infotext import quote
from schema.requests import GenerationRequest
from schema.results import GeneratedImage, GenerationResult

NOT_MADE = "not made"
_LAST_FIELDS = re.compile(r", Version: [^,\n]*(?:, User: .*)?$")


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot with nothing left to read.

    Attributes:
        request: What all cells start from.
        axes: X, Y and Z.
        cells: In the order in which they are made.
    """

    request: GenerationRequest
    axes: tuple[PlottedAxis, PlottedAxis, PlottedAxis]
    cells: tuple[Cell, ...]

    def with_fixed_seeds(self) -> tuple[PlottedAxis, PlottedAxis, PlottedAxis]:
        """The axes without random seeds."""
        x, y, z = self.axes
        return x.with_fixed_seeds(), y.with_fixed_seeds(), z.with_fixed_seeds()

    def index(self, cell: Cell) -> int:
        """Place of a cell, planes first, then rows."""
        x, y, z = cell
        return x + len(self.axes[0].values) * (y + len(self.axes[1].values) * z)


def read_plot(request: GenerationRequest, values: Values, place: Place) -> Plot:
    """The plot that the script's `values` describe.

    Raises:
        InvalidRequest: If a value cannot be used, or the sheet would exceed `img_max_size_mp`.
    """
    x, y, z = (read_axis(letter, values, request, place) for letter in LETTERS)
    count = len(x.values) * len(y.values) * len(z.values)
    megapixels = round(count * request.width * request.height / 1_000_000)
    if megapixels >= place.max_megapixels:
        raise InvalidRequest(
            f"X/Y/Z plot: {count} pictures make a sheet of {megapixels} megapixels; the setting 'Maximum image size' "
            f"(img_max_size_mp) allows {place.max_megapixels:g}. Give fewer values or a smaller size."
        )
    return Plot(request=request, axes=(x, y, z), cells=tuple(run_order((x, y, z))))


def add_to_record(infotext: str, fields: Mapping[str, object]) -> str:
    """`infotext` with `fields` before its version, which stays last."""
    written = "".join(f", {key}: {quote(value)}" for key, value in fields.items())
    end = _LAST_FIELDS.search(infotext)
    place = end.start() if end else len(infotext)
    return infotext[:place] + written + infotext[place:]


@dataclass(kw_only=True)
class PlotRun:
    """A plot while it is made.

    Attributes:
        results: By cell; only cells with a picture.
        failures: By cell, in words.
    """

    plot: Plot
    values: Mapping[str, Any]
    services: ScriptServices
    notes: list[str]
    results: dict[Cell, GenerationResult] = field(default_factory=dict[Cell, GenerationResult])
    failures: dict[Cell, str] = field(default_factory=dict[Cell, str])

    def run(self) -> GenerationResult:
        """Makes the cells and draws the sheets; cells that fail or are not reached say so in the sheet.

        Raises:
            InvalidRequest: If every cell failed.
        """
        interrupted = False
        for cell in self.plot.cells:
            result = self._make(cell)
            if result is None:
                continue
            if result.images:
                self.results[cell] = result
            self.notes += [note for note in result.notes if note not in self.notes]
            if result.interrupted:
                interrupted = True
                break
        self.notes += self._failure_notes()
        if not self.results:
            if self.failures and not interrupted:
                raise InvalidRequest(f"X/Y/Z plot: no picture could be made. {next(iter(self.failures.values()))}")
            return GenerationResult(notes=tuple(self.notes), interrupted=interrupted)
        return self._answer(interrupted)

    def _make(self, cell: Cell) -> GenerationResult | None:
        """The result of one cell; None for one that failed, whose error is kept."""
        try:
            return self.services.generate(self._request(cell))
        except RUN_ERRORS as error:
            self.failures[cell] = str(error)
            return None

    def _request(self, cell: Cell) -> GenerationRequest:
        request, stride = self.plot.request, 1
        seed_step = 0
        for axis, index in zip(self.plot.axes, cell, strict=True):
            request = axis.applied(request, index)
            if self.values[f"vary_seeds_{axis.letter}"]:
                seed_step += index * stride
                stride *= len(axis.values)
        if seed_step and request.seed != -1:
            request = request.model_copy(update={"seed": request.seed + seed_step})
        return request

    def _answer(self, interrupted: bool) -> GenerationResult:
        sheets = self._draw()
        grids = self._grids(sheets)
        cells = sorted(self.results, key=self.plot.index)
        pictures = [image for cell in cells for image in self.results[cell].images[:1]]
        shown = [*grids, *(pictures if self.values["include_lone_images"] else [])]
        return GenerationResult(
            images=tuple(shown),
            info=self.results[cells[0]].info
            | {
                "index_of_first_image": len(grids),
                "infotexts": [image.infotext for image in shown],
                "all_prompts": [image.prompt for image in pictures],
                "all_negative_prompts": [image.negative_prompt for image in pictures],
                "all_seeds": [image.seed for image in pictures],
                "all_subseeds": [image.subseed for image in pictures],
            },
            notes=tuple(self.notes),
            interrupted=interrupted,
        )

    def _draw(self) -> PlotSheets:
        x, y, z = self.plot.axes
        size = next(iter(self.results.values())).images[0].image.size
        cells = {self.plot.index(cell): self._cell_image(cell, size) for cell in self.plot.cells}
        legend = Legend(
            columns=x.labels,
            rows=y.labels,
            titles=z.labels,
            drawn=self.values["draw_legend"],
            margin=self.values["margin_size"],
        )
        return draw_plot([cells[index] for index in range(len(cells))], legend, self.services.grid)

    def _cell_image(self, cell: Cell, size: tuple[int, int]) -> Image.Image:
        if cell in self.results:
            return self.results[cell].images[0].image
        return message_cell(size, self.failures.get(cell, NOT_MADE), style=self.services.grid)

    def _grids(self, sheets: PlotSheets) -> list[GeneratedImage]:
        """The sheets that are shown; saved are the large one, and those of the planes where they are shown."""
        with_planes = self.values["include_sub_grids"]
        whole = self._sheet(sheets.whole, self.plot.axes, sorted(self.results, key=self.plot.index))
        grids = [self._saved(whole)]
        for number, plane in enumerate(sheets.planes if with_planes else ()):
            inside = [cell for cell in self.results if cell[2] == number] or list(self.results)
            sheet = self._sheet(plane, self.plot.axes[:2], sorted(inside, key=self.plot.index))
            grids.append(self._saved(sheet) if len(sheets.planes) > 1 else sheet)
        return grids

    def _sheet(self, image: Image.Image, axes: Sequence[PlottedAxis], cells: Sequence[Cell]) -> GeneratedImage:
        """A sheet with the record of the first picture on it, and what its axes are.

        Source: A1111 scripts/xyz_grid.py, Script.run (grid_infotext).
        """
        made = self.results[cells[0]].images
        first = next((picture for picture in made if not picture.is_grid), made[0])
        fields: dict[str, object] = {"Script": "X/Y/Z plot"}
        for axis in axes:
            fields |= axis.record()
        infotext = add_to_record(first.infotext, fields)
        image.info["parameters"] = infotext
        return replace(first, image=image, infotext=infotext, path=None, is_grid=True)

    def _saved(self, sheet: GeneratedImage) -> GeneratedImage:
        try:
            return self.services.save(sheet, basename="xyz_grid", grid=True)
        except OutputError as error:
            self.notes.append(str(error))
            return sheet

    def _failure_notes(self) -> list[str]:
        total = len(self.plot.cells)
        notes: list[str] = []
        for cell, error in self.failures.items():
            places = [
                axis.axis.label(axis.axis.name, axis.values[index]) or axis.axis.name
                for axis, index in zip(self.plot.axes, cell, strict=True)
                if axis.axis.name != NOTHING
            ]
            notes.append(f"Picture {self.plot.index(cell) + 1} of {total} ({'; '.join(places)}) failed: {error}")
        return notes
