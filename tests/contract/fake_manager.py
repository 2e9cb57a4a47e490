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

from pipelines.adapters.control_files import ControlFile
from pipelines.checkpoints.download import DOWNLOADS, Download
from pipelines.control.service import ControlService
from pipelines.device import choose_device
from pipelines.img2img_files import FileBatch
from pipelines.jobs import Job, JobQueue
from pipelines.named_models import NamedModel, Presence
from pipelines.scripts.arguments import Kind, Place
from pipelines.scripts.base import Script
from pipelines.scripts.catalogue import SCRIPTS
from pipelines.scripts.paste import PastedScript, script_of
from schema.errors import InvalidRequest
from schema.extras import ExtrasRequest
from schema.flags import Flags
from schema.infotext import format_infotext, parse_infotext, request_parameters
from schema.paste import NameResolver, PastedValues, to_request_values
from schema.paths import Paths, contained
from schema.requests import LATENT_UPSCALE_MODES, SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULE
from schema.results import GeneratedImage, GenerationResult, JobState
from schema.styles import Style, StyleLibrary


@dataclass(frozen=True, kw_only=True)
class FakeStatus:
    title: str
    loading: bool = False
    text: str = ""
    problem: str | None = None
    native_size: int = 128
    is_edit: bool = False


@dataclass
class FakeControls:
    """The list of control models, without files."""

    names: list[str] = field(
        default_factory=lambda: [
            "control_v11p_sd15_canny [d14c016b]",
            "control_v11p_sd15_openpose [cab727d4]",
            "controlnet-union-sdxl-1.0 [15e6ad5d]",
        ]
    )

    def get(self, name: str) -> ControlFile | None:
        return None


@dataclass
class FakeLibrary:
    """What ControlNet's lists ask of the library."""

    controls: FakeControls = field(default_factory=FakeControls)

    def refresh(self, name: str) -> None:
        self.refreshed = name


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
        self.flags = Flags(data_dir=self.outputs.parent)
        self.paths = Paths.from_flags(self.flags)
        self.queue = JobQueue()
        # Lists and maps need no engine: the real service, on a library without files.
        self.control = ControlService(
            FakeLibrary(),  # type: ignore[arg-type]
            self.paths,
            choose_device("cpu"),
            family=lambda: None,
            on_device=lambda work: work(),
            may_download=True,
        )
        self.lists |= {
            "control_types": list(self.control.types()),
            "controlnet_modules": self.control.module_labels(),
            "controlnet_models": self.control.model_choices(),
        }
        self.outputs.mkdir(parents=True, exist_ok=True)
        self.styles = StyleLibrary([self.paths.styles_file])
        for name in self.lists["styles"]:
            self.styles.save(Style(name=name, prompt=name.lower()))
        self._title, self._loading = self.lists["checkpoints"][0], False
        self._number = 0
        self._last = ""

    def submit(self, request: Any, *, owner: str = "", save: bool = True) -> Job:
        self.seen.append(request)
        if isinstance(request, ExtrasRequest):
            return self.queue.submit(Job(lambda job: self._enlarge(job, request), request, owner=owner))
        if request.prompt == "refuse":
            raise InvalidRequest("The prompt 'refuse' is refused. Write something else.")
        return self.queue.submit(Job(lambda job: self._work(job, request, save), request, owner=owner))

    def _enlarge(self, job: Job, request: ExtrasRequest) -> GenerationResult:
        made: list[GeneratedImage] = []
        job.plan_runs(len(request.images))
        for image in request.images:
            size = round(image.width * request.upscaling_resize), round(image.height * request.upscaling_resize)
            enlarged = GeneratedImage(
                image=image.convert("RGB").resize(size),
                infotext=f"Postprocess upscale by: {request.upscaling_resize}",
                seed=-1,
                subseed=-1,
                prompt="",
                negative_prompt="",
            )
            made.append(enlarged)
            job.add_image(enlarged)
        return GenerationResult(images=tuple(made))

    def models_of(self, infotext: str) -> tuple[NamedModel, ...]:
        name = str(parse_infotext(infotext).get("Model", ""))
        here = Presence.HERE if name == "scenes-mini" else Presence.MISSING
        return (NamedModel(kind="Checkpoint", name=name, hash="", presence=here, local=name),) if name else ()

    def device_words(self) -> str:
        return "cpu, float32"

    def submit_files(self, request: Any, batch: FileBatch, *, owner: str = "") -> Job:
        if not batch.files:
            raise InvalidRequest("There is no picture to work on.")
        self.seen.append((request, batch))
        several = request.model_copy(update={"n_iter": len(batch.files), "batch_size": 1})
        return self.queue.submit(Job(lambda job: self._work(job, several, True), request, owner=owner))

    def user_folder(self, named: str) -> Path:
        return contained(named, [self.outputs.parent])

    def job(self, job_id: str) -> Job | None:
        return self.queue.get(job_id)

    def jobs(self, owner: str | None = None) -> list[Job]:
        return self.queue.jobs(owner)

    def interrupt(self, job_id: str | None = None, *, after_current: bool = False) -> None:
        job = self.job(job_id) if job_id else self.queue.current
        if job and after_current and job.state is JobState.RUNNING and job.progress().job_count > 1:
            job.interrupt(after_current=True)
        elif job:
            job.cancel()

    def skip(self, job_id: str | None = None) -> None:
        job = self.job(job_id) if job_id else self.queue.current
        if job:
            job.skip()

    def choices(self, name: str) -> list[str]:
        return self.lists.get(name, [])

    def scripts(self, kind: Kind) -> list[Script]:
        return SCRIPTS.where(lambda script: script.is_txt2img if kind == "txt2img" else script.is_img2img)

    def script_place(self, kind: Kind) -> Place:
        return Place(kind=kind, lists=self.choices)

    def paste_script(self, infotext: str, kind: Kind) -> PastedScript:
        fields = parse_infotext(infotext or self._last).fields
        return script_of(fields, self.scripts(kind), self.script_place(kind))

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

    def style(self, name: str) -> Style | None:
        return self.styles.styles.get(name)

    def save_style(self, style: Style) -> None:
        self.styles.save(style)
        self.lists["styles"] = list(self.styles.styles)

    def delete_style(self, name: str) -> None:
        self.styles.delete(name)
        self.lists["styles"] = list(self.styles.styles)

    def apply_styles(self, prompt: str, negative_prompt: str, styles: Sequence[str]) -> tuple[str, str]:
        return ", ".join([prompt, *(name.lower() for name in styles)]), negative_prompt

    def _work(self, job: Job, request: Any, save: bool) -> GenerationResult:
        if request.prompt == "break":
            raise InvalidRequest("The prompt 'break' breaks while sampling. Write something else.")
        images: list[GeneratedImage] = []
        first = request.seed if request.seed >= 0 else 1234567890 + self._number
        job.plan_runs(request.n_iter)
        for iteration in range(request.n_iter):
            if job.stop_requested:
                return GenerationResult(images=tuple(images), interrupted=True)
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
