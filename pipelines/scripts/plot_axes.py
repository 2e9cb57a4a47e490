"""One plotted axis of the X/Y/Z plot: what was asked for, read and checked."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipelines.scripts.arguments import Place, Values
from pipelines.scripts.axes import AXES, NOTHING, SEEDS, Axis
from pipelines.scripts.axis_values import join_csv
from pipelines.scripts.base import MAX_SEED, kind_of
from schema.errors import InvalidRequest, WebuiError
from schema.requests import GenerationRequest

Letter = Literal["x", "y", "z"]
LETTERS: tuple[Letter, ...] = ("x", "y", "z")

Cell = tuple[int, int, int]
"""Position along X, Y and Z."""


@dataclass(frozen=True, kw_only=True)
class PlottedAxis:
    """An axis with its values.

    Attributes:
        text: The values as they were asked for, for the record.
        values: At least one.
        fixed: The numbers that random seeds became, or "".
    """

    letter: Letter
    axis: Axis
    text: str
    values: tuple[Any, ...]
    fixed: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """What the legend says of each value."""
        return tuple(self.axis.label(self.axis.name, value) for value in self.values)

    def applied(self, request: GenerationRequest, index: int) -> GenerationRequest:
        """`request` with value `index`.

        Raises:
            WebuiError: If it cannot be used there.
        """
        return self.axis.apply(request, self.values[index], self.values)

    def record(self) -> dict[str, str]:
        """What the record of a sheet says about the axis; nothing when it varies nothing."""
        if self.axis.name == NOTHING:
            return {}
        letter = self.letter.upper()
        fields = {f"{letter} Type": self.axis.name, f"{letter} Values": self.text}
        return fields | ({f"Fixed {letter} Values": self.fixed} if self.fixed else {})

    def with_fixed_seeds(self) -> "PlottedAxis":
        """The axis with a random number in place of every -1 of a seed axis.

        Source: A1111 scripts/xyz_grid.py, fix_axis_seeds.
        """
        if self.axis.name not in SEEDS:
            return self
        source = random.SystemRandom()
        values = tuple(source.randrange(MAX_SEED) if value == -1 else value for value in self.values)
        return replace(self, values=values, fixed=", ".join(map(str, values)))


def read_axis(letter: Letter, values: Values, request: GenerationRequest, place: Place) -> PlottedAxis:
    """The axis that the arguments `x_type`, `x_values` and `x_chosen` of a script describe.

    Raises:
        InvalidRequest: With axis and value, if one cannot be used for `request`.
    """
    axis = AXES.get(values[f"{letter}_type"])
    if kind_of(request) not in axis.kinds:
        raise InvalidRequest(f"X/Y/Z plot: the axis '{axis.name}' is not for {kind_of(request)}.")
    as_text = values["csv_mode"] or not values[f"{letter}_chosen"]
    entries = axis.entries(values[f"{letter}_values"], values[f"{letter}_chosen"], as_text=as_text)
    try:
        found = axis.values(entries, place.lists)
        plotted = PlottedAxis(letter=letter, axis=axis, text=values[f"{letter}_values"], values=tuple(found))
        for index in range(len(found)):
            plotted.applied(request, index)
    except WebuiError as error:
        raise InvalidRequest(f"X/Y/Z plot, {letter.upper()} values: {error}") from error
    return plotted if as_text else replace(plotted, text=join_csv(entries))


def run_order(axes: tuple[PlottedAxis, PlottedAxis, PlottedAxis]) -> Iterator[Cell]:
    """Every cell once; the costliest axis changes least often, of equal ones Z before Y before X.

    Source: A1111 scripts/xyz_grid.py, Script.run ("Decide which will be the first axis to process").
    """
    by_cost = sorted((2, 1, 0), key=lambda place: -axes[place].axis.cost)
    for indices in itertools.product(*(range(len(axes[place].values)) for place in by_cost)):
        at = dict(zip(by_cost, indices, strict=True))
        yield at[0], at[1], at[2]
