"""One queue in front of the device: jobs wait their turn, report progress, and can be stopped."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from PIL import Image

from schema.errors import Interrupted, InvalidRequest, WebuiError
from schema.results import GeneratedImage, GenerationResult, JobState, Progress

log = logging.getLogger(__name__)

MAX_WAITING = 1000
"""Jobs that may wait; one more is refused so that a runaway client cannot fill the memory."""

KEPT_FINISHED = 64
"""Finished jobs kept with their results, so that a reloaded page finds its pictures again."""

Work = Callable[["Job"], GenerationResult]


class Job:
    """One request on its way to pictures.

    The worker thread reports through `started_run`, `stepped`, `add_image` and `say`; any thread may read
    `progress()`, wait, or ask to stop.

    Attributes:
        id: Unguessable name of the job; a caller's `force_task_id` when given.
        owner: Which browser or client it belongs to.
        request: What was asked for.
        result: What was delivered, once `state` is DONE.
        error: What went wrong in words, once `state` is FAILED.
    """

    def __init__(self, work: Work, request: Any, *, owner: str = "", job_id: str | None = None) -> None:
        self.id = job_id or f"task({secrets.token_urlsafe(12)})"
        self.owner = owner
        self.request = request
        self.created_at = time.time()
        self.timestamp = time.strftime("%Y%m%d%H%M%S")
        self.result: GenerationResult | None = None
        self.error: str | None = None
        self.exception: BaseException | None = None
        self._work = work
        self._changed = threading.Condition()
        self._version = 0
        self._progress = Progress(state=JobState.QUEUED, text="Waiting")
        self._started = 0.0
        self._stop_now = False
        self._stop_after_current = False
        self._skip = False
        self._shown_images: int | None = None

    @property
    def state(self) -> JobState:
        """Where the job is in its life."""
        return self._progress.state

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)

    def progress(self) -> Progress:
        """A snapshot with the time left, in seconds, guessed from the time taken."""
        with self._changed:
            now = self._progress
            if now.state is not JobState.RUNNING or now.fraction <= 0:
                return now
            elapsed = time.monotonic() - self._started
            return replace(now, eta_s=max(0.0, elapsed / now.fraction - elapsed))

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until the job has finished; False when `timeout_s` ran out first."""
        with self._changed:
            return self._changed.wait_for(lambda: self.finished, timeout_s)

    def wait_change(self, seen: int, timeout_s: float) -> int:
        """Waits until something differs from version `seen`; the version now in force."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen, timeout_s)
            return self._version

    def interrupt(self, *, after_current: bool = False) -> None:
        """Asks to stop: at once, or when the pictures being sampled are finished. Finished pictures are kept."""
        with self._changed:
            if after_current and not self._stop_after_current:
                self._stop_after_current = True
                self._update(text="Stopping after this picture")
            else:
                self._stop_now = True
                self._update(text="Stopping")

    def skip(self) -> None:
        """Asks to abandon the batch being sampled and to go on with the next."""
        with self._changed:
            self._skip = True
            self._update()

    @property
    def stop_requested(self) -> bool:
        """Whether no further batch may start."""
        return self._stop_now or self._stop_after_current

    @property
    def interrupted(self) -> bool:
        """Whether it was asked to stop at once."""
        return self._stop_now

    @property
    def stopping_generation(self) -> bool:
        """Whether it was asked to stop after the current pictures."""
        return self._stop_after_current

    @property
    def skipped(self) -> bool:
        """Whether the current batch was asked to be abandoned."""
        return self._skip

    def raise_if_stopped(self) -> None:
        """Called between denoiser calls.

        Raises:
            Interrupted: If the job was interrupted or the batch skipped.
        """
        if self._stop_now or self._skip:
            raise Interrupted

    def begin_batch(self) -> None:
        """A new batch starts: an earlier skip no longer counts."""
        with self._changed:
            self._skip = False

    def plan_runs(self, job_count: int) -> None:
        """Tells how many sampling runs there will be (hires counts twice)."""
        with self._changed:
            self._update(job_count=max(1, job_count))

    def started_run(self, steps: int, text: str = "Sampling") -> None:
        """A sampling run of `steps` steps starts."""
        with self._changed:
            self._update(steps=max(1, steps), step=0, text=text)

    def stepped(self, step: int) -> None:
        """`step` steps of the current run are done."""
        with self._changed:
            self._update(step=min(step, self._progress.steps))

    def finished_run(self) -> None:
        """The current sampling run is done."""
        with self._changed:
            self._update(job_no=self._progress.job_no + 1, step=0)

    def say(self, text: str) -> None:
        """What is going on now, for the progress bar."""
        with self._changed:
            self._update(text=text)

    def show_preview(self, image: Image.Image) -> None:
        """A new live preview."""
        with self._changed:
            self._update(preview=image, preview_id=self._progress.preview_id + 1)

    def add_image(self, image: GeneratedImage) -> None:
        """One more finished picture."""
        with self._changed:
            if self._shown_images is None or len(self._progress.images) < self._shown_images:
                self._update(images=(*self._progress.images, image))

    def show_images(self, limit: int | None) -> None:
        """Keeps no more than the first `limit` pictures for showing; None keeps all."""
        self._shown_images = limit

    def queued_behind(self, position: int) -> None:
        """How many jobs are before it."""
        with self._changed:
            if self.state is JobState.QUEUED:
                self._update(
                    queue_position=position, text=f"In queue: {position} before" if position else "Next in queue"
                )

    def run(self) -> None:
        """Does the work on the calling (worker) thread and records how it ended."""
        with self._changed:
            if self.finished:
                return
            self._started = time.monotonic()
            self._update(state=JobState.RUNNING, queue_position=0, text="Starting")
        try:
            self.result = self._work(self)
            self._finish(JobState.DONE, "Done")
        except WebuiError as error:
            self.exception, self.error = error, str(error)
            self._finish(JobState.FAILED, str(error))
        except Exception as error:
            log.exception("Job %s failed", self.id)
            self.exception, self.error = error, f"{type(error).__name__}: {error}"
            self._finish(JobState.FAILED, self.error)

    def cancel(self) -> None:
        """Takes it out of the queue; a running job is interrupted instead."""
        with self._changed:
            if self.state is JobState.QUEUED:
                self.result = GenerationResult(interrupted=True)
                self._finish(JobState.CANCELLED, "Cancelled")
            elif not self.finished:
                self.interrupt()

    def _finish(self, state: JobState, text: str) -> None:
        with self._changed:
            fraction = 1.0 if state is JobState.DONE else self._progress.fraction
            self._update(state=state, text=text, preview=None)
            self._progress = replace(self._progress, fraction=fraction)

    def _update(self, **changes: Any) -> None:
        now = replace(self._progress, **changes)
        if now.job_count and now.state is JobState.RUNNING:
            # Source: A1111 modules/progress.py, progressapi.
            fraction = now.job_no / now.job_count + (now.step / now.steps / now.job_count if now.steps else 0.0)
            now = replace(now, fraction=min(fraction, 1.0))
        self._progress = now
        self._version += 1
        self._changed.notify_all()


class JobQueue:
    """First in, first out, one at a time, on one worker thread that lives as long as the program."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._waiting: list[Job] = []
        self._running: Job | None = None
        self._finished: list[Job] = []
        self._closed = False
        self._worker = threading.Thread(target=self._serve, name="jobs", daemon=True)
        self._worker.start()

    def submit(self, job: Job) -> Job:
        """Puts `job` at the end.

        Raises:
            InvalidRequest: If too many wait, or its id is in use.
        """
        with self._lock:
            if self._closed:
                raise InvalidRequest("The program is shutting down; the job was not started.")
            if len(self._waiting) >= MAX_WAITING:
                raise InvalidRequest(f"{MAX_WAITING} jobs are waiting already. Try again when some are done.")
            if any(other.id == job.id for other in self._active()):
                raise InvalidRequest(f"A job with the id '{job.id}' is waiting or running.")
            self._waiting.append(job)
            self._tell_positions()
            self._lock.notify_all()
        return job

    def get(self, job_id: str) -> Job | None:
        """The waiting, running or recently finished job called `job_id`."""
        return next((job for job in self.jobs() if job.id == job_id), None)

    def jobs(self, owner: str | None = None) -> list[Job]:
        """Recently finished, running and waiting jobs, oldest first; only `owner`'s when given."""
        with self._lock:
            every = [*self._finished, *self._active()]
        return [job for job in every if owner is None or job.owner == owner]

    @property
    def current(self) -> Job | None:
        """The running job."""
        return self._running

    @property
    def waiting(self) -> int:
        """How many jobs wait behind the running one."""
        return len(self._waiting)

    def close(self, timeout_s: float = 30.0) -> None:
        """Cancels what waits, interrupts what runs, and waits until its pictures are saved."""
        with self._lock:
            self._closed = True
            for job in self._waiting:
                job.cancel()
            if self._running:
                self._running.interrupt()
            self._lock.notify_all()
        self._worker.join(timeout_s)

    def _active(self) -> list[Job]:
        return [*([self._running] if self._running else []), *self._waiting]

    def _tell_positions(self) -> None:
        for place, job in enumerate(self._waiting):
            job.queued_behind(place + (self._running is not None))

    def _serve(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                job = self._running = self._waiting.pop(0)
                self._tell_positions()
            job.run()
            with self._lock:
                self._running = None
                self._finished = [*self._finished, job][-KEPT_FINISHED:]
                self._tell_positions()
