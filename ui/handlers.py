"""Runs a job for a tab: submit, follow its progress, show its pictures, and find it again after a reload."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipelines.jobs import Job
from schema.extras import ExtrasRequest
from schema.requests import GenerationRequest
from schema.results import GeneratedImage, JobState
from ui.events import Answer, Event, on
from ui.output_panel import OutputPanel, infotext_html, log_html, preview_html, progress_html
from ui.prompt_row import RunButtons

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

POLL_S = 0.12
"""Seconds between two looks at a job; each look is a lock and a comparison."""

REFRESH_S = 1.0
"""Seconds after which the time left is shown anew although no step was done."""

INTERRUPTED = "Interrupted: the pictures finished so far were kept."
GONE = "The job is no longer known to the server. Its pictures are in the output folder."


Submit = Callable[[Event, str], Job]
"""Queues the job of an event for an owner."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The jobs whose pictures are in a gallery, oldest first.

    Attributes:
        first: Index of the first one that nobody follows yet.
    """

    jobs: tuple[str, ...] = ()
    first: int = 0


@dataclass(frozen=True, kw_only=True)
class Runner:
    """One tab's connection between its Generate button and the engine's queue.

    A click only submits; following is a second event that can start again at any time, so a lost connection or a
    reload never loses a job.

    Attributes:
        browser: BrowserState: an unguessable name of this browser, which owns its jobs.
        watched: State: a `Watched`; whenever it changes, the page follows what it names.
    """

    manager: PipelineManager
    tab: str
    row: RunButtons
    panel: OutputPanel
    browser: gr.BrowserState
    watched: gr.State

    def bind(
        self,
        read: Callable[[Event], GenerationRequest | ExtrasRequest],
        inputs: set[Any],
        submit_job: Submit | None = None,
    ) -> None:
        """Binds Generate, Queue, Interrupt and Skip.

        Args:
            read: Makes the request from the event's values.
            submit_job: Queues the job in place of `manager.submit(read(event))`, given the event and its owner.
        """

        def submit(event: Event) -> Answer:
            owner = self._owner(event[self.browser])
            job = submit_job(event, owner) if submit_job else self.manager.submit(read(event), owner=owner)
            before = self._busy(event[self.watched])
            return {self.watched: Watched(jobs=(*before, job.id), first=len(before))}

        for button in (self.row.generate, self.row.queue):
            sources = {*inputs, self.browser, self.watched}
            on(button.click, submit, inputs=sources, outputs=[self.watched], trigger_mode="multiple")
        following = on(
            self.watched.change, self.follow, inputs=[self.watched], outputs=self._outputs, trigger_mode="multiple"
        )
        on(following.failure, self.recovered, inputs=[self.watched], outputs=self._outputs)
        on(self.row.interrupt.click, self._interrupt, inputs=[self.watched])
        on(self.row.skip.click, self._skip, inputs=[self.watched])
        on(self.panel.gallery.select, self._select, inputs=[self.panel.pictures], outputs=self._selection)

    def found_again(self, browser: str) -> Answer:
        """The event answer that makes a page which was just opened follow this browser's jobs."""
        jobs = self.manager.jobs(self._owner(browser))
        active = [job.id for job in jobs if not job.finished]
        wanted = active or [job.id for job in jobs[-1:]]
        return {self.watched: Watched(jobs=tuple(wanted))} if wanted else {}

    def recovered(self, watched: Watched) -> Answer:
        """The event answer after following broke off: no bar and no Interrupt that belong to nothing."""
        return {**self.row.running(self._current(watched) is not None), self.panel.progress: progress_html(None)}

    @property
    def _outputs(self) -> list[Any]:
        return [*self.panel.live, *self.row.run_buttons]

    @property
    def _selection(self) -> list[Any]:
        return [self.panel.selected, self.panel.infotext]

    def _owner(self, browser: str | None) -> str:
        return f"{browser or secrets.token_urlsafe(12)}/{self.tab}"

    def _busy(self, watched: Watched) -> tuple[str, ...]:
        """The watched jobs when one of them still runs: a new one then joins their gallery."""
        return watched.jobs if self._current(watched) else ()

    def _current(self, watched: Watched) -> Job | None:
        jobs = [job for job in map(self.manager.job, watched.jobs) if job is not None and not job.finished]
        return jobs[0] if jobs else None

    def _interrupt(self, watched: Watched) -> None:
        if job := self._current(watched):
            after_current = self.manager.settings.settings.interrupt_after_current
            self.manager.interrupt(job.id, after_current=after_current)

    def _skip(self, watched: Watched) -> None:
        if job := self._current(watched):
            self.manager.skip(job.id)

    def _select(self, picked: gr.SelectData, pictures: list[GeneratedImage]) -> Answer:
        index = int(picked.index)
        if not 0 <= index < len(pictures):
            return {self.panel.selected: 0}
        return {self.panel.selected: index, self.panel.infotext: infotext_html(pictures[index].infotext)}

    async def follow(self, watched: Watched) -> AsyncIterator[Answer]:
        """Shows the watched jobs from the first new one on, one after the other, beside the pictures before them."""
        # A stream must answer at least once: Gradio empties every output of one that never does.
        yield {self.panel.progress: progress_html(None)}
        for place, job_id in enumerate(watched.jobs):
            if place < watched.first:
                continue
            earlier = [job for job in map(self.manager.job, watched.jobs[:place]) if job is not None]
            while any(not job.finished for job in earlier):
                await asyncio.sleep(POLL_S)
            job = self.manager.job(job_id)
            if job is None:
                yield {**self.row.running(False), self.panel.log: log_html([GONE])}
                continue
            before = tuple(image for other in earlier for image in finished_images(other))
            async for answer in self._follow_one(job, before):
                yield answer

    async def _follow_one(self, job: Job, before: tuple[GeneratedImage, ...]) -> AsyncIterator[Answer]:
        if not job.finished:
            yield {**self.row.running(True), self.panel.log: "", self.panel.progress: progress_html(job.progress())}
        version, preview_id, count, said_at = -1, 0, -1, 0.0
        settings = self.manager.settings.settings
        period_s = settings.live_preview_refresh_period / 1000
        while not job.finished:
            now_at, waited = job.wait_change(version, 0), time.monotonic() - said_at
            # Each answer costs the browser time: more than it can take would pile up and freeze the page.
            if waited >= (period_s if now_at != version else max(period_s, REFRESH_S)):
                version, said_at = now_at, time.monotonic()
                now = job.progress()
                answer: Answer = {self.panel.progress: progress_html(now)}
                if now.preview is not None and now.preview_id != preview_id:
                    preview_id = now.preview_id
                    answer[self.panel.preview] = preview_html(
                        now.preview, settings.live_previews_image_format, aside=bool(before or now.images)
                    )
                if len(now.images) != count and now.images:
                    select = len(before) if count <= 0 else None
                    answer |= self.panel.show((*before, *now.images), select=select)
                count = len(now.images)
                yield answer
            await asyncio.sleep(POLL_S)
        yield self._done(job, before)

    def _done(self, job: Job, before: tuple[GeneratedImage, ...]) -> Answer:
        result, images = job.result, finished_images(job)
        notes = list(result.notes) if result else []
        if result and result.interrupted:
            notes.append(INTERRUPTED)
        if job.error and job.state is JobState.FAILED:
            gr.Warning(job.error, title="")
        busy = any(not other.finished for other in self.manager.jobs(job.owner))
        answer = self.panel.show((*before, *images), select=len(before)) if images else {}
        if not busy:
            answer |= self.row.running(False)
        return {
            **answer,
            self.panel.progress: progress_html(None),
            self.panel.preview: "",
            self.panel.log: log_html(notes, job.error if job.state is JobState.FAILED else None),
        }


def finished_images(job: Job) -> tuple[GeneratedImage, ...]:
    """The pictures of a job: grids first once it is done, those finished so far before."""
    return job.result.images if job.result and job.result.images else job.progress().images
