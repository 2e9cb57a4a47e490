"""The layout that the generation tabs share: prompts on top, settings left, results right."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import gradio as gr

from schema.requests import GenerationRequest
from ui.controlnet_units import build_control_units
from ui.form import Form
from ui.handlers import Runner, Watched
from ui.hires import build_refiner
from ui.output_panel import build_output_panel
from ui.overrides import build_overrides
from ui.prompt_row import build_prompt_row
from ui.sampling import build_sampler, build_seed, build_size_and_batch
from ui.scripts import build_scripts
from ui.tab import GenerationTab

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

R = TypeVar("R", bound=GenerationRequest)
Part = Callable[[], None]


def nothing() -> None:
    """A part that a tab does not have."""


def build_generation_tab(
    form: Form[R],
    manager: PipelineManager,
    browser: gr.BrowserState,
    *,
    source: Part = nothing,
    groups: Part = nothing,
    strength: Part = nothing,
    size: Part | None = None,
) -> GenerationTab[R]:
    """Lays a tab out in the current context, with the events that need nothing but the tab itself.

    Args:
        source: Lays out what the tab starts from, above the sampler.
        groups: Lays out the tab's own groups, between the sampler and the refiner.
        strength: Lays out what stands beside the CFG scale.
        size: Lays out size and batch in place of `build_size_and_batch`.
    """
    row = build_prompt_row(form, manager)
    with gr.Row(elem_classes="workbench", equal_height=False):
        with gr.Column(scale=5, min_width=340, elem_id=f"{form.prefix}_settings", elem_classes="settings-column"):
            source()
            build_sampler(form)
            groups()
            refiner = build_refiner(form)
            (size or (lambda: build_size_and_batch(form)))()
            with gr.Row():
                form.render("cfg_scale", min_width=150)
                strength()
            seed_row = build_seed(form)
            control = build_control_units(form, manager)
            overrides = build_overrides(form.prefix)
            scripts = build_scripts(form.prefix, manager)
        with gr.Column(scale=6, min_width=340):
            panel = build_output_panel(form.prefix)
    watched = gr.State(Watched())
    runner = Runner(manager=manager, tab=form.prefix, row=row, panel=panel, browser=browser, watched=watched)
    tab = GenerationTab(
        form=form,
        row=row,
        panel=panel,
        runner=runner,
        seed_row=seed_row,
        refiner=refiner,
        overrides=overrides,
        scripts=scripts,
        control=control,
    )
    tab.bind_gallery()
    return tab
