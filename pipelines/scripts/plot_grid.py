"""The contact sheets of an X/Y/Z plot: one per Z value, and all of them side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from pipelines.output.grid import image_grid
from pipelines.scripts.base import GridStyle
from pipelines.scripts.grid_labels import Label, Labels, label_grid


@dataclass(frozen=True, kw_only=True)
class PlotSheets:
    """The drawn sheets.

    Attributes:
        whole: All planes beside each other.
        planes: One sheet per Z value.
    """

    whole: Image.Image
    planes: tuple[Image.Image, ...]


@dataclass(frozen=True, kw_only=True)
class Legend:
    """Texts along the axes; "" for an axis that varies nothing.

    Attributes:
        drawn: Whether they are shown, with `margin` pixels between the cells of a plane.
    """

    columns: tuple[str, ...]
    rows: tuple[str, ...]
    titles: tuple[str, ...]
    drawn: bool = True
    margin: int = 0


def draw_plot(cells: Sequence[Image.Image], legend: Legend, style: GridStyle) -> PlotSheets:
    """Sheets of `cells`, given plane by plane and row by row.

    Cells of a plane are as large as its largest picture; the planes stand in one row under their titles.

    Source: A1111 scripts/xyz_grid.py, draw_xyz_grid.
    """
    size = len(legend.columns) * len(legend.rows)
    assert len(cells) == size * len(legend.titles), f"{len(cells)} cells for {size} x {len(legend.titles)}"
    planes: list[Image.Image] = []
    for first in range(0, len(cells), size):
        planes.append(_draw_plane(cells[first : first + size], legend, style))
    whole = image_grid(planes, columns=len(planes), background=style.background)
    if legend.drawn:
        cell = _largest(planes)
        blank: Labels = [[Label(text="")]]
        whole = label_grid(whole, cell=cell, columns=_labels(legend.titles), rows=blank, margin=0, style=style)
    return PlotSheets(whole=whole, planes=tuple(planes))


def _draw_plane(cells: Sequence[Image.Image], legend: Legend, style: GridStyle) -> Image.Image:
    sheet = image_grid(cells, columns=len(legend.columns), background=style.background)
    if not legend.drawn:
        return sheet
    return label_grid(
        sheet,
        cell=_largest(cells),
        columns=_labels(legend.columns),
        rows=_labels(legend.rows),
        margin=legend.margin,
        style=style,
    )


def _largest(images: Sequence[Image.Image]) -> tuple[int, int]:
    return max(image.width for image in images), max(image.height for image in images)


def _labels(texts: Sequence[str]) -> Labels:
    return [[Label(text=text)] for text in texts]
