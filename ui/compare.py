"""Reproduce and compare: a picture is made again from its record, and both are put side by side."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component
from PIL import Image
from pydantic import ValidationError

from pipelines.compare import Difference, cannot_be_repeated, difference, explain
from pipelines.jobs import Job
from pipelines.named_models import NamedModel, Presence
from schema.errors import InvalidRequest
from schema.infotext import parse_infotext
from schema.requests import Txt2ImgRequest
from schema.results import GeneratedImage, JobState
from ui.errors import sentence
from ui.events import Answer, Event, on
from ui.init_images import read_upload
from ui.output_panel import progress_html

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

REPRODUCE, STOP = "Reproduce and compare", "Stop"
ABOUT = "Makes the picture again from its record, here and now, and shows what is different and why."
IN_FILE, MADE_AGAIN, APART = "In the file", "Made again", "Difference"
AMPLIFIED = "Difference × {factor}"
NO_RECORD = "There is no record to make a picture from. Drop a picture that has one first."
IDENTICAL = "Identical"
IDENTICAL_MORE = "Every pixel is the same."
ALMOST, DIFFERENT = "Nearly the same", "Different"
NUMBERS = "PSNR {psnr} dB · largest difference {largest} of 255 · {changed} of the pixels differ"
OTHER_SIZE = (
    "The picture made again has {made} pixels, the one in the file {given}: they cannot be laid over each other."
)
WHY = "What may explain it"
STOPPED = "Stopped: there is nothing to compare."
ALMOST_DB = 40.0
"""PSNR from which two pictures look the same to most people."""

POLL_S = 0.15


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The part's components.

    Attributes:
        job: State: id of the job that makes the picture again.
    """

    start: gr.Button
    stop: gr.Button
    progress: gr.HTML
    verdict: gr.HTML
    pictures: gr.Row
    given: gr.Image
    made: gr.Image
    apart: gr.Image
    job: gr.State

    @property
    def outputs(self) -> list[Any]:
        """Everything that a run changes."""
        shown: list[Component] = [self.given, self.made, self.apart, self.progress, self.verdict, self.job]
        return [*shown, self.start, self.stop, self.pictures]

    def bind(self, manager: PipelineManager, browser: Any, image: gr.Image, infotext: gr.Textbox) -> None:
        """Binds both buttons.

        Args:
            browser: State: the unguessable name of this browser.
            image, infotext: The picture in the file, and its record.
        """

        async def run(event: Event) -> AsyncIterator[Answer]:
            text = event[infotext] or ""
            if not text.strip():
                raise InvalidRequest(NO_RECORD)
            given = read_upload(event[image])
            if reason := cannot_be_repeated(parse_infotext(text)):
                yield self._show(verdict=sentence_html(reason))
                return
            models = manager.models_of(text)
            request = request_again(manager, text, models)
            job = manager.submit(request, owner=f"{event[browser] or secrets.token_urlsafe(12)}/compare", save=False)
            async for progress in _progress(job):
                yield {
                    self.job: job.id,
                    self.progress: progress,
                    self.verdict: "",
                    self.pictures: gr.update(visible=False),
                    self.start: gr.update(interactive=False),
                    self.stop: gr.update(visible=True),
                }
            yield self._finished(manager, job, given, text, models)

        def stop(job_id: str | None) -> None:
            if job_id:
                manager.interrupt(job_id)

        on(self.start.click, run, inputs={image, infotext, browser}, outputs=self.outputs)
        on(self.stop.click, stop, inputs=[self.job])
        on(image.change, lambda: self._show(), inputs=None, outputs=self.outputs)  # type: ignore[attr-defined]

    def _finished(
        self, manager: PipelineManager, job: Job, given: Image.Image, text: str, models: Sequence[NamedModel]
    ) -> Answer:
        if job.state is JobState.FAILED:
            return self._show(verdict=f'<p class="error" role="alert">{escape(job.error or "")}</p>')
        made = next((each for each in (job.result.images if job.result else ()) if not each.is_grid), None)
        if made is None or (job.result and job.result.interrupted):
            return self._show(verdict=sentence_html(STOPPED))
        apart = difference(given, made.image)
        reasons = reasons_of(manager, text, made, models) if apart is None or not apart.is_identical else []
        notes = list(job.result.notes) if job.result and reasons else []
        shown = self._show(verdict=verdict_html(apart, given, made.image, [*notes, *reasons]))
        return {
            **shown,
            self.pictures: gr.update(visible=True),
            self.given: given.convert("RGB"),
            self.made: made.image,
            self.apart: gr.update(
                value=apart.picture if apart else None,
                label=AMPLIFIED.format(factor=f"{apart.amplified:.0f}") if apart and apart.amplified > 1 else APART,
                visible=apart is not None,
            ),
        }

    def _show(self, *, verdict: str = "") -> Answer:
        """The answer that puts `verdict` there and everything else at rest."""
        return {
            self.verdict: verdict,
            self.progress: progress_html(None),
            self.job: "",
            self.start: gr.update(interactive=True),
            self.stop: gr.update(visible="hidden"),
            self.pictures: gr.update(visible=False),
        }


def build_comparison(manager: PipelineManager) -> Comparison:
    """Lays the part out in the current context."""
    with gr.Column(elem_classes="sheet compare", min_width=0, elem_id="pnginfo_compare"):
        with gr.Row(elem_classes="compare-head"):
            start = gr.Button(REPRODUCE, elem_id="pnginfo_reproduce", scale=0, min_width=230, size="md")
            stop = gr.Button(STOP, elem_id="pnginfo_reproduce_stop", scale=0, min_width=80, size="md", visible="hidden")
            gr.HTML(f"<p>{ABOUT}</p>", elem_classes="group-note", padding=False)
        progress = gr.HTML(
            progress_html(None), elem_id="pnginfo_compare_progress", elem_classes="progress inline", padding=False
        )
        verdict = gr.HTML("", elem_id="pnginfo_verdict", elem_classes="verdict-box", padding=False)
        with gr.Row(visible=False, elem_classes="compare-pictures", elem_id="pnginfo_compare_pictures") as pictures:
            given, made, apart = (
                gr.Image(
                    label=label,
                    interactive=False,
                    format="png",
                    elem_id=f"pnginfo_compare_{name}",
                    buttons=["download", "fullscreen"],
                    min_width=160,
                )
                for name, label in (("given", IN_FILE), ("made", MADE_AGAIN), ("apart", APART))
            )
    return Comparison(
        start=start,
        stop=stop,
        progress=progress,
        verdict=verdict,
        pictures=pictures,
        given=given,
        made=made,
        apart=apart,
        job=gr.State(""),
    )


def request_again(manager: PipelineManager, infotext: str, models: Sequence[NamedModel]) -> Txt2ImgRequest:
    """The request that `infotext` describes, with the models it names where they are here.

    Raises:
        InvalidRequest: If a value of it cannot be used.
    """
    pasted = manager.paste(infotext, Txt2ImgRequest)
    overrides = dict(pasted.override_settings)
    for kind, key in (("Checkpoint", "sd_model_checkpoint"), ("VAE", "sd_vae")):
        found = next((model for model in models if model.kind == kind and model.presence is not Presence.MISSING), None)
        if found is not None:
            overrides[key] = found.local
    if not any(model.kind == "VAE" for model in models):
        # A record without a VAE was made with the checkpoint's own.
        overrides["sd_vae"] = "None"
    values = pasted.values | {"override_settings": overrides, "n_iter": 1, "batch_size": 1, "do_not_save_grid": True}
    try:
        return Txt2ImgRequest.model_validate(values)
    except ValidationError as error:
        raise InvalidRequest(sentence(error, Txt2ImgRequest)) from error


def reasons_of(
    manager: PipelineManager, infotext: str, made: GeneratedImage, models: Sequence[NamedModel]
) -> list[str]:
    """What may have made `made` differ from the picture with the record `infotext`."""
    return explain(
        parse_infotext(infotext),
        parse_infotext(made.infotext),
        models=models,
        unused=manager.paste(infotext, Txt2ImgRequest).unused,
        device=manager.device_words(),
    )


def verdict_html(apart: Difference | None, given: Image.Image, made: Image.Image, reasons: Sequence[str]) -> str:
    """One word, the numbers, and what may explain a difference."""
    if apart is None:
        words = OTHER_SIZE.format(made=_size(made), given=_size(given))
        head = f'<p class="verdict different"><b>{DIFFERENT}</b> {escape(words)}</p>'
    elif apart.is_identical:
        return f'<p class="verdict identical" role="status"><b>{IDENTICAL}</b> {IDENTICAL_MORE}</p>'
    else:
        kind, word = ("almost", ALMOST) if apart.psnr >= ALMOST_DB else ("different", DIFFERENT)
        numbers = NUMBERS.format(
            psnr=f"{apart.psnr:.1f}" if math.isfinite(apart.psnr) else "∞",
            largest=apart.largest,
            changed=f"{apart.changed:.1%}",
        )
        head = f'<p class="verdict {kind}" role="status"><b>{word}</b> {numbers}</p>'
    items = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    return f"{head}<h3>{WHY}</h3><ul class='notes'>{items}</ul>" if items else head


def sentence_html(words: str) -> str:
    """A sentence in place of a verdict."""
    return f'<p class="verdict">{escape(words)}</p>'


async def _progress(job: Job) -> AsyncIterator[str]:
    """The job's progress bar, whenever something changed, until it has finished."""
    seen = -1
    yield progress_html(job.progress())
    while not job.finished:
        version = job.wait_change(seen, 0)
        if version != seen:
            seen = version
            yield progress_html(job.progress())
        await asyncio.sleep(POLL_S)


def _size(image: Image.Image) -> str:
    return f"{image.width} × {image.height}"
