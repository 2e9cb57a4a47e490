"""The Batch sub-tab of img2img: which files, which masks, what their records change, where results go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
from gradio.components import Component

from pipelines.img2img_batch import PNG_INFO_FIELDS, batch_files
from pipelines.img2img_files import FileBatch
from schema.errors import InvalidRequest
from schema.requests import Img2ImgRequest
from ui.events import Answer, Event, on
from ui.form import Form

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

UPLOAD, FOLDER = "Upload", "From directory"
NO_FILES = "There are no pictures yet. Drop some on the Batch field first."
NO_FOLDER = "There is no input directory. Name one below the data folder."
MASK_BLUR = 4


@dataclass(frozen=True, kw_only=True)
class FileBatchRow:
    """The sub-tab's controls."""

    origin: gr.Radio
    uploads: gr.File
    input_dir: gr.Textbox
    output_dir: gr.Textbox
    mask_dir: gr.Textbox
    use_png_info: gr.Checkbox
    png_info_dir: gr.Textbox
    png_info_fields: gr.CheckboxGroup

    @property
    def inputs(self) -> set[Component]:
        """Everything `read` reads."""
        return {
            self.origin,
            self.uploads,
            self.input_dir,
            self.output_dir,
            self.mask_dir,
            self.use_png_info,
            self.png_info_dir,
            self.png_info_fields,
        }

    def read(self, event: Event, manager: PipelineManager, factor: float | None) -> FileBatch:
        """The batch that the controls describe.

        Args:
            factor: What the sides of each file are multiplied with, or None.

        Raises:
            InvalidRequest: If there is nothing to work on.
            ForbiddenPath: If a folder may not be used.
        """

        def folder(box: gr.Textbox) -> Path | None:
            named = str(event[box] or "").strip()
            return manager.user_folder(named) if named else None

        from_folder = event[self.origin] == FOLDER
        masks = folder(self.mask_dir) if from_folder else None
        use_record = bool(event[self.use_png_info])
        return FileBatch(
            files=tuple(self._files(event, folder(self.input_dir) if from_folder else None, from_folder)),
            masks=tuple(batch_files(masks)) if masks else None,
            output=folder(self.output_dir) if from_folder else None,
            factor=factor,
            png_info=frozenset(event[self.png_info_fields] or ()) if use_record else frozenset(),
            png_info_folder=folder(self.png_info_dir) if use_record else None,
            shown=manager.settings.settings.img2img_batch_show_results_limit,
        )

    def _files(self, event: Event, folder: Path | None, from_folder: bool) -> list[Path]:
        if not from_folder:
            if not event[self.uploads]:
                raise InvalidRequest(NO_FILES)
            return [Path(file) for file in event[self.uploads]]
        if folder is None:
            raise InvalidRequest(NO_FOLDER)
        return batch_files(folder)


def build_file_batch(form: Form[Img2ImgRequest]) -> FileBatchRow:
    """Lays the controls out in the current context."""
    origin = gr.Radio(choices=[UPLOAD, FOLDER], value=UPLOAD, label="Pictures", elem_id="img2img_batch_source")
    uploads = gr.File(
        label="Files", file_count="multiple", file_types=["image"], elem_id="img2img_batch_upload", height=180
    )
    with gr.Column(visible="hidden", min_width=0) as folders:
        input_dir = gr.Textbox(
            label="Input directory", info="Below the data folder of the program.", elem_id="img2img_batch_input_dir"
        )
        output_dir = gr.Textbox(
            label="Output directory", info="Empty for the usual one.", elem_id="img2img_batch_output_dir"
        )
        mask_dir = gr.Textbox(
            label="Inpaint batch mask directory",
            info="Masks have their picture's name; a single one serves all. Empty for no masks.",
            elem_id="img2img_batch_inpaint_mask_dir",
        )
        with gr.Accordion("Masks", open=False):
            render_mask_fields(form)
    with gr.Accordion("PNG info", open=False):
        use = gr.Checkbox(label="Append png info to prompts", elem_id="img2img_batch_use_png_info")
        png_dir = gr.Textbox(
            label="PNG info directory", info="Empty to use the pictures.", elem_id="img2img_batch_png_info_dir"
        )
        fields = gr.CheckboxGroup(
            choices=list(PNG_INFO_FIELDS),
            label="Parameters to take from png info",
            info="Prompts are appended to those above; everything else is replaced.",
            elem_id="img2img_batch_png_info_props",
        )

    def show(chosen: str) -> Answer:
        return {
            uploads: gr.update(visible=True if chosen == UPLOAD else "hidden"),
            folders: gr.update(visible=True if chosen == FOLDER else "hidden"),
        }

    on(origin.change, show, inputs=[origin], outputs=[uploads, folders])
    return FileBatchRow(
        origin=origin,
        uploads=uploads,
        input_dir=input_dir,
        output_dir=output_dir,
        mask_dir=mask_dir,
        use_png_info=use,
        png_info_dir=png_dir,
        png_info_fields=fields,
    )


def render_mask_fields(form: Form[Img2ImgRequest]) -> None:
    """The fields that say how a mask is used."""
    with gr.Row():
        form.render("inpainting_mask_invert", "inpainting_fill", min_width=200)
    with gr.Row():
        form.render("inpaint_full_res", min_width=200)
        form.render("inpaint_full_res_padding", min_width=150)
    form.render("mask_blur", value=MASK_BLUR)
