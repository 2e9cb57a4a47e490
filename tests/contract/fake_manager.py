"""A stand-in for the engine with the same face: pictures are gradients that depend on the request alone."""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic import BaseModel

from pipelines.checkpoints.download import DOWNLOADS, Download
from pipelines.jobs import Job, JobQueue
from schema.errors import InvalidRequest
from schema.infotext import format_infotext, parse_infotext, request_parameters
from schema.paste import NameResolver, PastedValues, to_request_values
from schema.requests import LATENT_UPSCALE_MODES, SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULE
from schema.results import GeneratedImage, GenerationResult


@dataclass(frozen=True, kw_only=True)
class FakeStatus:
    title: str
    loading: bool = False
    text: str = ""
    problem: str | None = None
    native_size: int = 128


@dataclass
class FakeManager:
    """What `ui` asks of the engine, answered without one."""

    outputs: Path
    settings: Any = None
    step_s: float = 0.05
    lists: dict[str, list[str]] = field(
        default_factory=lambda: {
            "checkpoints": ["scenes-mini [0123456789]", "v1-5-pruned-emaonly.safetensors [6ce0161689]"],
            "samplers": ["DPM++ 2M", "Euler a", "Euler"],
            "schedules": ["Automatic", "Karras", "Exponential"],
            "hires_upscalers": [*LATENT_UPSCALE_MODES, "Lanczos"],
            "hires_samplers": [SAME_SAMPLER, "DPM++ 2M", "Euler a", "Euler"],
            "hires_schedules": [SAME_SCHEDULE, "Automatic", "Karras", "Exponential"],
            "hires_checkpoints": [SAME_CHECKPOINT, "scenes-mini [0123456789]"],
            "styles": ["Ink drawing", "Soft light"],
            "upscalers": ["None", "Lanczos"],
            "vaes": ["Automatic", "None"],
            "latent_modes": list(LATENT_UPSCALE_MODES),
        }
    )
    seen: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue = JobQueue()
        self.outputs.mkdir(parents=True, exist_ok=True)
        self._title, self._loading = self.lists["checkpoints"][0], False
        self._number = 0
        self._last = ""

    def submit(self, request: Any, *, owner: str = "", save: bool = True) -> Job:
        self.seen.append(request)
        if request.prompt == "refuse":
            raise InvalidRequest("The prompt 'refuse' is refused. Write something else.")
        return self.queue.submit(Job(lambda job: self._work(job, request, save), request, owner=owner))

    def job(self, job_id: str) -> Job | None:
        return self.queue.get(job_id)

    def jobs(self, owner: str | None = None) -> list[Job]:
        return self.queue.jobs(owner)

    def interrupt(self, job_id: str | None = None) -> None:
        job = self.job(job_id) if job_id else self.queue.current
        if job:
            job.cancel()

    def skip(self, job_id: str | None = None) -> None:
        job = self.job(job_id) if job_id else self.queue.current
        if job:
            job.skip()

    def choices(self, name: str) -> list[str]:
        return self.lists.get(name, [])

    def refresh(self, name: str) -> list[str]:
        return self.lists.get(name, [])

    def load_checkpoint(self, title: str) -> None:
        self._loading = True

        def load() -> None:
            time.sleep(0.4)
            self._title, self._loading = title, False

        threading.Thread(target=load, daemon=True).start()

    def model_status(self) -> FakeStatus:
        size = 512 if "v1-5" in self._title else 128
        return FakeStatus(title=self._title, loading=self._loading, text="", native_size=size)

    def problem_files(self) -> list[tuple[str, str]]:
        return [("half-a-download.safetensors", "The file ends early: 812 of 2034 MiB are there. Download it again.")]

    def token_count(self, prompt: str, styles: Sequence[str] = (), *, negative: bool = False) -> tuple[int, int]:
        count = len(prompt.replace(",", " ,").split())
        return count, max(1, -(-count // 75)) * 75

    def curated(self) -> list[Download]:
        return list(DOWNLOADS)

    def download(
        self,
        name: str,
        on_progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> Path:
        for part in range(11):
            time.sleep(0.05)
            if on_progress:
                on_progress(part, 10)
        self.lists["checkpoints"].append(f"{name}.safetensors")
        return self.outputs / name

    def paste(self, infotext: str, request_type: type[BaseModel]) -> PastedValues:
        settings = self.settings.settings
        names = NameResolver(choices=lambda name: self.lists.get(name))
        return to_request_values(
            parse_infotext(infotext, settings=settings), request_type, settings=settings, names=names
        )

    def save_copies(self, images: Sequence[GeneratedImage]) -> list[Path]:
        folder = self.outputs.parent / "log" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copy(image.path, folder)) for image in images if image.path]

    def last_infotext(self) -> str:
        return self._last

    def apply_styles(self, prompt: str, negative_prompt: str, styles: Sequence[str]) -> tuple[str, str]:
        return ", ".join([prompt, *(name.lower() for name in styles)]), negative_prompt

    def _work(self, job: Job, request: Any, save: bool) -> GenerationResult:
        if request.prompt == "break":
            raise InvalidRequest("The prompt 'break' breaks while sampling. Write something else.")
        images: list[GeneratedImage] = []
        first = request.seed if request.seed >= 0 else 1234567890 + self._number
        job.plan_runs(request.n_iter)
        for iteration in range(request.n_iter):
            job.begin_batch()
            job.started_run(request.steps)
            for step in range(request.steps):
                if job.interrupted:
                    return GenerationResult(images=tuple(images), interrupted=True)
                if job.skipped:
                    break
                time.sleep(self.step_s)
                job.stepped(step + 1)
                if step % 4 == 0:
                    job.show_preview(_picture(request, first + iteration).resize((64, 64)))
            job.finished_run()
            for _ in range(0 if job.skipped else request.batch_size):
                image = self._finished(request, first + len(images), save)
                images.append(image)
                job.add_image(image)
        return GenerationResult(images=tuple(images), info={"all_seeds": [image.seed for image in images]})

    def _finished(self, request: Any, seed: int, save: bool) -> GeneratedImage:
        image, path = _picture(request, seed), None
        infotext = self._last = _infotext(request, seed)
        if save:
            path = self.outputs / f"{self._number:05d}-{seed}.png"
            self._number += 1
            chunks = PngInfo()
            chunks.add_text("parameters", infotext)
            image.save(path, pnginfo=chunks)
        return GeneratedImage(
            image=image,
            infotext=infotext,
            seed=seed,
            subseed=-1,
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            path=path,
        )


def _picture(request: Any, seed: int) -> Image.Image:
    key = f"{request.prompt}|{request.negative_prompt}|{seed}|{request.steps}|{request.cfg_scale}"
    digest = hashlib.sha256(key.encode()).digest()
    y, x = np.mgrid[0 : request.height, 0 : request.width].astype(np.float32)
    waves = [
        127 + 120 * np.sin(x / (9 + digest[c] / 9) + y / (13 + digest[c + 3] / 11) + digest[c + 6]) for c in range(3)
    ]
    return Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8))


def _infotext(request: Any, seed: int) -> str:
    own = request_parameters(request, {"Seed": seed, "Model": "scenes-mini", "Version": "v0"})
    return format_infotext(request.prompt, request.negative_prompt, own)
