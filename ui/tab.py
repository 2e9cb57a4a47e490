"""What every generation tab holds and can do: read its request, show values, act on the selected picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import gradio as gr
from gradio.components import Component
from pydantic import ValidationError

from schema.errors import InvalidRequest
from schema.requests import GenerationRequest
from schema.results import GeneratedImage
from ui.controlnet_units import ControlUnits
from ui.errors import sentence
from ui.events import Answer, Event, on
from ui.form import Form
from ui.handlers import Runner
from ui.hires import refiner_values
from ui.output_panel import OutputPanel
from ui.overrides import override_settings
from ui.prompt_row import PromptRow
from ui.sampling import EXTRA_FIELDS, SeedRow, needs_extra, seed_values
from ui.scripts import ScriptArea

R = TypeVar("R", bound=GenerationRequest)

NO_PICTURE = "There is no picture yet. Generate one first, or select one in the gallery."


@dataclass(frozen=True, kw_only=True)
class GenerationTab(Generic[R]):
    """A tab with a form, a prompt row and an output panel."""

    form: Form[R]
    row: PromptRow
    panel: OutputPanel
    runner: Runner
    seed_row: SeedRow
    refiner: gr.Checkbox
    overrides: gr.Dropdown
    scripts: ScriptArea
    control: ControlUnits

    @property
    def forms(self) -> list[Form[Any]]:
        """Its own form and those of its ControlNet units."""
        return [self.form, *self.control.forms]

    @property
    def inputs(self) -> set[Component]:
        """Everything `request` reads."""
        return {
            *self.form.inputs,
            self.refiner,
            self.seed_row.extra,
            self.overrides,
            *self.scripts.inputs,
            *self.control.inputs,
        }

    @property
    def outputs(self) -> list[Any]:
        """Everything `show` may change."""
        return [
            *self.form.outputs,
            self.refiner,
            self.seed_row.extra,
            self.overrides,
            *self.scripts.outputs,
            *self.control.outputs,
        ]

    def request(self, event: Event, **extra: Any) -> R:
        """The request of an event; `extra` sets what has no field of its own, such as pictures.

        Raises:
            InvalidRequest: With one sentence that names the field, if a value breaks a bound.
        """
        switched = refiner_values(event, self.refiner) | seed_values(event, self.seed_row)
        chips = override_settings(event[self.overrides])
        switched |= self.scripts.values(event)
        units = self.control.read(event)
        try:
            return self.form.read(event, **switched, override_settings=chips, controlnet=units, **extra)
        except ValidationError as error:
            raise InvalidRequest(sentence(error, self.form.model)) from error

    def show(self, values: Mapping[str, Any]) -> Answer:
        """The event answer that puts `values` into the form, with the switches they need."""
        answer = self.form.updates(values)
        if "refiner_checkpoint" in values:
            answer[self.refiner] = bool(values["refiner_checkpoint"])
        if EXTRA_FIELDS.keys() & values.keys():
            answer[self.seed_row.extra] = needs_extra(values)
        if "controlnet" in values:
            answer |= self.control.show(values["controlnet"])
        return answer

    def show_overrides(self, chips: list[str]) -> Answer:
        """The event answer that shows settings which differ from those in force; hidden while there are none."""
        return {self.overrides: gr.update(value=chips, choices=chips, visible=bool(chips))}

    def bind_gallery(self) -> None:
        """Binds what the buttons beside seed and under the gallery do with the selected picture."""
        picked = [self.panel.pictures, self.panel.selected]
        for button in (self.seed_row.reuse, self.panel.reuse_seed):
            on(button.click, self._reuse_seed, inputs=picked, outputs=[self.form["seed"]])
        on(self.seed_row.reuse_sub.click, self._reuse_subseed, inputs=picked, outputs=[self.form["subseed"]])

    def _reuse_seed(self, pictures: list[GeneratedImage], selected: int) -> int:
        return picture_at(pictures, selected).seed

    def _reuse_subseed(self, pictures: list[GeneratedImage], selected: int) -> int:
        return picture_at(pictures, selected).subseed


def picture_at(pictures: list[GeneratedImage], selected: int) -> GeneratedImage:
    """The selected picture; the first one when the selection is out of date.

    Raises:
        InvalidRequest: If there is none.
    """
    if not pictures:
        raise InvalidRequest(NO_PICTURE)
    return pictures[selected if 0 <= selected < len(pictures) else 0]
