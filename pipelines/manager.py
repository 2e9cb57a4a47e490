"""The one object that the page and the REST API hold: requests in, jobs and lists out."""

from __future__ import annotations

import functools
import io
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from pipelines.adapters.extra_networks import extract_networks
from pipelines.adapters.lora import LoraPatcher
from pipelines.checkpoints.cache import ModelCache
from pipelines.checkpoints.download import DOWNLOADS, Download, download
from pipelines.checkpoints.model import CheckpointInfo, LoadedModel
from pipelines.conditioning.encode import PromptCache
from pipelines.conditioning.prompts import remove_comments
from pipelines.conditioning.tokenizer import clip_tokenizer
from pipelines.conditioning.tokens import count_tokens
from pipelines.control.batch import batch_length, run_batch
from pipelines.control.service import ControlService
from pipelines.device import choose_device
from pipelines.extras_job import ExtrasRun
from pipelines.generate import OutputFolders, generate
from pipelines.img2img_files import FileBatch, run_files
from pipelines.jobs import Job, JobQueue
from pipelines.library import Library
from pipelines.named_models import NamedModel, named_models
from pipelines.output.export import save_selection
from pipelines.output.filenames import NameFacts
from pipelines.output.metadata import write_image
from pipelines.output.save import SaveOptions, save_image
from pipelines.plan import make_plan
from pipelines.sampling.catalogue import SAMPLERS, SCHEDULES, resolve_sampler_and_schedule
from pipelines.scripts.arguments import Kind, Place
from pipelines.scripts.base import GridStyle, Script, ScriptServices, Variation, kind_of, read_arguments
from pipelines.scripts.catalogue import SCRIPTS
from pipelines.scripts.paste import PastedScript, script_of
from pipelines.stage import Stage
from schema.atomic import remove_stale_files, write_atomically
from schema.errors import ForbiddenPath, InvalidRequest, OutOfMemory, WebuiError
from schema.extras import ExtrasRequest
from schema.flags import Flags
from schema.infotext import parse_infotext
from schema.paste import NameResolver, PastedValues, to_request_values
from schema.paths import Paths, contained
from schema.requests import (
    LATENT_UPSCALE_MODES,
    SAME_CHECKPOINT,
    SAME_SAMPLER,
    SAME_SCHEDULE,
    GenerationRequest,
    Img2ImgRequest,
)
from schema.results import GeneratedImage, GenerationResult, JobState
from schema.settings import Settings
from schema.store import SettingsStore
from schema.styles import Style

log = logging.getLogger(__name__)

TABS = ("txt2img", "img2img", "inpaint", "Extras", "PNG Info", "Checkpoint Merger", "Train", "Settings")

API_FORMATS = ("png", "jpg", "jpeg", "webp")


@dataclass(frozen=True, kw_only=True)
class ModelStatus:
    """What the page shows of the model.

    Attributes:
        title: Of the checkpoint in use or selected, "" when there is none.
        text: What is going on, in words.
        problem: Why the selected checkpoint is not in use, or None.
        native_size: Side in pixels the model was trained at; 512 while unknown.
        is_edit: Whether the model in use edits pictures by instruction, with a CFG scale of its own for the picture.
    """

    title: str
    loading: bool
    text: str
    problem: str | None = None
    native_size: int = 512
    is_edit: bool = False


class _Models:
    """Models for the stages, under the settings in force."""

    def __init__(self, cache: ModelCache, library: Library, settings: Callable[[], Settings], hashing: bool) -> None:
        self._cache, self._library, self._settings, self._hashing = cache, library, settings, hashing
        self._patcher: tuple[LoadedModel, LoraPatcher] | None = None

    def use(self, info: CheckpointInfo, *, own_vae: bool = False) -> LoadedModel:
        settings = self._settings()
        self._cache.limit = settings.sd_checkpoints_limit
        self._cache.keep_on_cpu = settings.sd_checkpoints_keep_in_cpu
        hashed = self._library.hashed(info) if self._hashing else info
        return self._cache.use(hashed, vae_path=None if own_vae else self._library.choose_vae(info, settings))

    def patcher(self, model: LoadedModel) -> LoraPatcher:
        if self._patcher is None or self._patcher[0] is not model:
            self._patcher = (model, LoraPatcher(model, self._library.loras))
        return self._patcher[1]

    def forget(self) -> None:
        """Lets go of the model; before it is unloaded."""
        if self._patcher is not None:
            self._patcher[1].restore()
        self._patcher = None


class PipelineManager:
    """Requests in, pictures out; holds the queue, the models and the lists.

    Attributes:
        settings: The store; `settings.settings` is the snapshot in force.
        queue: Serialises everything that uses the device.
        control: ControlNet's lists, and preprocessing without generating.
    """

    def __init__(self, flags: Flags, paths: Paths, store: SettingsStore) -> None:
        self.flags, self.paths, self.settings = flags, paths, store
        policy = choose_device(
            flags.device,
            precision=flags.precision,
            full_precision_vae=flags.no_half_vae,
            channels_last=flags.opt_channelslast,
        )
        self.library = Library(paths, policy, store.settings, checkpoint=flags.ckpt, vae=flags.vae_path)
        self.queue = JobQueue()
        self._policy = policy
        self._cache = ModelCache(policy)
        self._prompts = PromptCache()
        self._models = _Models(self._cache, self.library, lambda: self.settings.settings, not flags.no_hashing)
        self.control = ControlService(
            self.library,
            paths,
            policy,
            family=lambda: self._cache.current.family if self._cache.current else None,
            on_device=self._on_device,
            may_download=not flags.offline,
        )
        self._status_lock = threading.Lock()
        self._problem: str | None = None

    # ---- jobs ----

    def submit(
        self,
        request: GenerationRequest | ExtrasRequest,
        *,
        owner: str = "",
        save: bool = True,
        job_id: str | None = None,
        lenient: bool = False,
    ) -> Job:
        """Queues `request`.

        Args:
            owner: Which browser or client it belongs to.
            save: Whether finished pictures go to disk.
            lenient: Replace and note unknown names as A1111 does, instead of refusing them.

        Raises:
            InvalidRequest: If the request names something that does not exist, or too many jobs wait.
        """
        if isinstance(request, ExtrasRequest):
            work = functools.partial(self._extras, request, save)
        elif request.script_name:
            script = self.script(request.script_name, request)
            kind = kind_of(request)
            values = read_arguments(script, request.script_args, kind)
            script.check(request, values, self.script_place(kind))
            work = functools.partial(self._script, script, values, request, save, lenient)
        else:
            # Planned here once so that a bad request is refused at once; planned again when its turn comes, because
            # settings and files may have changed meanwhile.
            make_plan(request, self.settings.settings, self.library, save=save, lenient=lenient)
            repeats = batch_length(request.controlnet)
            work = functools.partial(
                self._control_batch if repeats else self._generate, request, Variation(), save, lenient
            )
        return self.queue.submit(Job(functools.partial(_guarded, work), request, owner=owner, job_id=job_id))

    def submit_files(self, request: Img2ImgRequest, batch: FileBatch, *, owner: str = "") -> Job:
        """Queues one job that runs `request` for every file of `batch`.

        Raises:
            InvalidRequest: If there is no file, or the request names something that does not exist.
        """
        if not batch.files:
            raise InvalidRequest("There is no picture to work on. Choose files, or a folder that has some.")
        make_plan(request, self.settings.settings, self.library)
        work = functools.partial(self._files, request, batch)
        return self.queue.submit(Job(functools.partial(_guarded, work), request, owner=owner))

    def user_folder(self, named: str) -> Path:
        """The folder that a user named on the page: below the data folder, or one that the command line allows.

        Raises:
            ForbiddenPath: If it lies elsewhere.
        """
        try:
            return contained(named.strip(), (self.paths.data_dir, *self.flags.gradio_allowed_path))
        except ForbiddenPath as error:
            raise ForbiddenPath(
                f"{error} Use a folder below '{self.paths.data_dir}', or start with --gradio-allowed-path FOLDER."
            ) from error

    def job(self, job_id: str) -> Job | None:
        """The job called `job_id`, as long as it is known."""
        return self.queue.get(job_id)

    def jobs(self, owner: str | None = None) -> list[Job]:
        """Recently finished, running and waiting jobs, oldest first."""
        return self.queue.jobs(owner)

    def interrupt(self, job_id: str | None = None, *, after_current: bool = False) -> None:
        """Stops a job, the running one by default; a waiting one leaves the queue.

        Args:
            after_current: Whether the batch being sampled may be finished first, where others would follow it; a second
                call stops at once.

        Source: A1111 modules/ui_toprow.py, interrupt_function.
        """
        job = self.job(job_id) if job_id else self.queue.current
        if job is None:
            return
        if after_current and job.state is JobState.RUNNING and job.progress().job_count > 1:
            job.interrupt(after_current=True)
        else:
            job.cancel()

    def skip(self, job_id: str | None = None) -> None:
        """Abandons the batch being sampled."""
        job = self.job(job_id) if job_id else self.queue.current
        if job is not None:
            job.skip()

    def close(self) -> None:
        """Ends what runs; pictures already finished are saved first."""
        self.queue.close()

    def _files(self, request: Img2ImgRequest, batch: FileBatch, job: Job) -> GenerationResult:
        runs = make_plan(request, self.settings.settings, self.library).run_count * len(batch.files)
        job.plan_runs(runs)
        job.show_images(None if batch.shown < 0 else batch.shown)

        def run(part: Img2ImgRequest, *, samples: Path | None) -> GenerationResult:
            return self._generate(part, Variation(), True, False, job, samples=samples, runs=runs)

        return run_files(request, batch, run=run, find_checkpoint=self._title_of, stopped=lambda: job.stop_requested)

    def _control_batch(
        self, request: GenerationRequest, variation: Variation, save: bool, lenient: bool, job: Job
    ) -> GenerationResult:
        """The job once for every picture of ControlNet units in batch mode."""
        settings = self.settings.settings
        plan = make_plan(request, settings, self.library, variation=variation, save=save, lenient=lenient)
        runs = plan.run_count * batch_length(request.controlnet)
        folder = next((unit.output_dir for unit in request.controlnet if unit.enabled and unit.output_dir), "")
        samples = self._folders(plan.settings, plan.kind).samples / folder if folder else None

        def run(part: GenerationRequest) -> GenerationResult:
            return self._generate(part, variation, save, lenient, job, samples=samples, runs=runs)

        return run_batch(
            request,
            run,
            seed=plan.batches[0].seeds[0],
            increments_seed=plan.settings.controlnet_increment_seed_during_batch,
            stopped=lambda: job.stop_requested,
        )

    def _generate(
        self,
        request: GenerationRequest,
        variation: Variation,
        save: bool,
        lenient: bool,
        job: Job,
        *,
        samples: Path | None = None,
        runs: int | None = None,
    ) -> GenerationResult:
        settings = self.settings.settings
        plan = make_plan(request, settings, self.library, variation=variation, save=save, lenient=lenient)
        job.plan_runs(plan.run_count if runs is None else runs)
        stage = Stage(
            plan=plan,
            library=self.library,
            models=self._models,
            cache=self._prompts,
            job=job,
            control_tools=self.control.tools,
        )
        folders = self._folders(plan.settings, plan.kind)
        return generate(stage, replace(folders, samples=samples) if samples else folders, self._remember)

    def _script(
        self,
        script: Script,
        values: Mapping[str, Any],
        request: GenerationRequest,
        save: bool,
        lenient: bool,
        job: Job,
    ) -> GenerationResult:
        settings = self.settings.settings
        kind = kind_of(request)
        folders = self._folders(settings, kind)
        plain_run = Variation()

        def run(part: GenerationRequest, variation: Variation = plain_run, /) -> GenerationResult:
            plain = part.model_copy(update={"script_name": None, "script_args": []})
            # A script says beforehand how many runs there will be in all.
            runs = job.progress().job_count or None
            return self._generate(plain, variation, save, lenient, job, runs=runs)

        def keep(picture: GeneratedImage, *, basename: str = "", grid: bool = False) -> GeneratedImage:
            if not save or not (settings.grid_save if grid else settings.samples_save):
                return picture
            facts = NameFacts(
                seed=picture.seed, prompt=picture.prompt, negative_prompt=picture.negative_prompt, basename=basename
            )
            folder = folders.grids if grid else folders.samples
            options = SaveOptions.taken_from(settings)
            saved = save_image(
                picture.image, folder, facts=facts, options=options, infotext=picture.infotext, is_grid=grid
            )
            return replace(picture, path=saved.path)

        services = ScriptServices(
            generate=run,
            upscalers=self.library.upscalers,
            save=keep,
            expect_jobs=job.plan_runs,
            on_tile=lambda done, total: job.raise_if_stopped(),
            background=settings.img2img_background_color,
            grid=GridStyle(
                shown=settings.return_grid,
                only_if_multiple=settings.grid_only_if_multiple,
                n_rows=settings.n_rows,
                prevent_empty_spots=settings.grid_prevent_empty_spots,
                background=settings.grid_background_color,
            ),
            place=self.script_place(kind),
        )
        return script.run(request, values, services)

    def _extras(self, request: ExtrasRequest, save: bool, job: Job) -> GenerationResult:
        settings = self.settings.settings
        run = ExtrasRun(
            upscalers=self.library.upscalers,
            restorers=self.library.restorers,
            settings=settings,
            folder=self._output_folder(settings.outdir_samples or settings.outdir_extras_samples),
            save=save,
            detector=self.library.face_detector(),
        )
        return run.run(request, job)

    def _folders(self, settings: Settings, kind: str) -> OutputFolders:
        samples = settings.outdir_txt2img_samples if kind == "txt2img" else settings.outdir_img2img_samples
        grids = settings.outdir_txt2img_grids if kind == "txt2img" else settings.outdir_img2img_grids
        return OutputFolders(
            samples=self._output_folder(settings.outdir_samples or samples),
            grids=self._output_folder(settings.outdir_grids or grids),
            init_images=self._output_folder(settings.outdir_init_images),
        )

    def _output_folder(self, folder: str) -> Path:
        """A folder of the settings; relative ones are below the data folder."""
        return self.paths.data_dir / folder

    def _remember(self, infotext: str) -> None:
        """Keeps the last infotext for the paste button. Source: A1111 params.txt."""
        if self.flags.no_prompt_history:
            return
        try:
            write_atomically(self.paths.params_file, lambda file: file.write(infotext.encode()))
        except OSError as error:
            log.warning("%s could not be written: %s", self.paths.params_file.name, error.strerror)

    # ---- the model ----

    def model_status(self) -> ModelStatus:
        """The model in use, or being loaded."""
        model = self._cache.current
        job = self.queue.current
        loading = job is not None and job.progress().text.startswith("Loading")
        selected = self.library.current_checkpoint(self.settings.settings)
        title = selected.title if selected else ""
        text = job.progress().text if job and loading else ("Ready" if model else "Not loaded yet")
        return ModelStatus(
            title=title,
            loading=loading,
            text=text,
            problem=self._problem if selected else "There is no checkpoint. Open Settings and get a model.",
            native_size=self._native_size(selected, model),
            is_edit=model is not None and model.is_edit,
        )

    def _native_size(self, selected: CheckpointInfo | None, model: LoadedModel | None) -> int:
        if model is not None and selected is not None and model.checkpoint.path == selected.path:
            return model.native_size
        return self.library.native_size(selected) if selected else 512

    def load_checkpoint(self, title: str) -> Job:
        """Selects a checkpoint and loads it when the device is free; a failure leaves the one in use.

        Raises:
            CheckpointNotFound: If there is none of that name.
            CheckpointError: If its file is known to be unusable.
        """
        info = self.library.checkpoints.get(title)
        if info.problem:
            raise InvalidRequest(info.problem)
        previous = self.settings.settings.sd_model_checkpoint

        def work(job: Job) -> GenerationResult:
            job.say(f"Loading {info.name}")
            try:
                model = self._models.use(info)
                self._problem = None
            except WebuiError as error:
                self._problem = str(error)
                self.settings.update({"sd_model_checkpoint": previous})
                raise
            self.settings.update({"sd_model_checkpoint": model.checkpoint.title})
            return GenerationResult()

        self.settings.update({"sd_model_checkpoint": info.title})
        return self.queue.submit(Job(functools.partial(_guarded, work), None, owner="model"))

    def load_in_background(self) -> None:
        """Tidies up after a killed run and loads the selected checkpoint, so that the first picture comes sooner."""
        remove_stale_files(self.paths.outputs)
        selected = self.library.current_checkpoint(self.settings.settings)
        if selected is None:
            return

        def work(job: Job) -> GenerationResult:
            job.say(f"Loading {selected.name}")
            try:
                self._models.use(selected)
            except WebuiError as error:
                self._problem = str(error)
                raise
            return GenerationResult()

        self.queue.submit(Job(functools.partial(_guarded, work), None, owner="model"))

    def unload_checkpoint(self) -> None:
        """Gives the models' memory back."""
        self._on_device(lambda: (self.control.forget(), self._models.forget(), self._cache.unload()))

    def reload_checkpoint(self) -> None:
        """Loads the last model again from its file."""
        self._on_device(lambda: (self._models.forget(), self._cache.reload()))

    def _on_device(self, action: Callable[[], Any]) -> None:
        """Runs `action` in the queue and waits, so that it never meets a running job."""

        def work(job: Job) -> GenerationResult:
            action()
            return GenerationResult()

        job = self.queue.submit(Job(functools.partial(_guarded, work), None, owner="model"))
        job.wait()
        if isinstance(job.exception, WebuiError):
            raise job.exception

    # ---- lists ----

    def choices(self, name: str) -> list[str]:
        """Entries of the live list `name`, as `Control.choices` calls it; unknown lists are empty."""
        lists: dict[str, Callable[[], list[str]]] = {
            "checkpoints": lambda: [info.title for info in self.library.checkpoints.usable()],
            "hires_checkpoints": lambda: [SAME_CHECKPOINT, *self.choices("checkpoints")],
            "samplers": lambda: [n for n in SAMPLERS.names if n not in self.settings.settings.hide_samplers],
            "hires_samplers": lambda: [SAME_SAMPLER, *SAMPLERS.names],
            "schedules": lambda: SCHEDULES.names,
            "hires_schedules": lambda: [SAME_SCHEDULE, *SCHEDULES.names],
            "latent_modes": lambda: list(LATENT_UPSCALE_MODES),
            "upscalers": lambda: self.library.upscalers.names,
            "hires_upscalers": lambda: [*LATENT_UPSCALE_MODES, *self.library.upscalers.names],
            "styles": lambda: list(self.library.styles.styles),
            "vaes": lambda: self.library.vaes.choices,
            "loras": lambda: [file.name for file in self.library.loras.files],
            "face_restorers": lambda: self.library.restorers.names,
            "scripts": lambda: SCRIPTS.names,
            "control_types": lambda: list(self.control.types()),
            "controlnet_modules": self.control.module_labels,
            "controlnet_models": self.control.model_choices,
            "setting_keys": lambda: list(Settings.model_fields),
            "tabs": lambda: list(TABS),
            "unets": lambda: ["Automatic", "None"],
            "attention_backends": lambda: ["Automatic", "sdp - scaled dot product"],
            "themes": lambda: ["Default"],
        }
        return lists[name]() if name in lists else []

    def problem_files(self) -> list[tuple[str, str]]:
        """Checkpoint files that cannot be used, with the reason."""
        return [(info.name, info.problem) for info in self.library.checkpoints if info.problem]

    def refresh(self, name: str) -> list[str]:
        """Looks again into the folders of list `name` and gives its entries."""
        self.library.refresh(name)
        return self.choices(name)

    def scripts(self, kind: str) -> list[Script]:
        """Selectable scripts of "txt2img" or "img2img"."""
        return SCRIPTS.where(lambda script: script.is_txt2img if kind == "txt2img" else script.is_img2img)

    def script_place(self, kind: Kind) -> Place:
        """What a script knows of this installation."""
        return Place(kind=kind, lists=self.choices, max_megapixels=self.settings.settings.img_max_size_mp)

    def paste_script(self, infotext: str, kind: Kind) -> PastedScript:
        """The script that `infotext` names, with its arguments; empty text means the last generation's."""
        parsed = parse_infotext(infotext if infotext.strip() else self.last_infotext(), **self.infotext_context())
        return script_of(parsed.fields, self.scripts(kind), self.script_place(kind))

    def script(self, title: str, request: GenerationRequest) -> Script:
        """The script called `title`, in any case.

        Raises:
            InvalidRequest: If there is none for this kind of request.
        """
        found = next(
            (script for script in self.scripts(kind_of(request)) if script.name.casefold() == title.casefold()), None
        )
        if found is None:
            raise InvalidRequest(f"Script '{title}' not found")
        return found

    def token_count(self, prompt: str, styles: Sequence[str] = (), *, negative: bool = False) -> tuple[int, int]:
        """(tokens, room) of the longest variant of a prompt; room grows in steps of 75."""
        if styles and self.settings.settings.include_styles_into_token_counters:
            both = self.library.styles.apply(styles, "" if negative else prompt, prompt if negative else "")
            prompt = both[1] if negative else both[0]
        return count_tokens(extract_networks(remove_comments(prompt))[0], clip_tokenizer())

    def embedding_listing(self) -> dict[str, Any]:
        """Embeddings that the model in use can take, and those it cannot."""
        return self.library.embedding_listing(self._cache.current)

    # ---- infotext ----

    def infotext_context(self) -> dict[str, Any]:
        """What `parse_infotext` needs to know of this installation."""
        return {"settings": self.settings.settings, "extract_styles": self.library.styles.extract}

    def paste(self, infotext: str, request_type: type[BaseModel]) -> PastedValues:
        """What `infotext` sets in the fields of a request; empty text means the last generation's."""
        parsed = parse_infotext(infotext if infotext.strip() else self.last_infotext(), **self.infotext_context())
        return to_request_values(parsed, request_type, settings=self.settings.settings, names=self.name_resolver())

    def _title_of(self, text: str) -> str | None:
        info = self.library.checkpoints.find(text)
        return info.title if info else None

    def _lora_with_hash(self, short_hash: str) -> str | None:
        library = self.library.loras
        return next((file.alias for file in library.files if library.short_hash(file) == short_hash), None)

    def _choices_or_none(self, name: str) -> list[str] | None:
        return self.choices(name) or None

    def name_resolver(self) -> NameResolver:
        """What this installation knows about names in an infotext."""
        return NameResolver(
            sampler=_resolved_names,
            checkpoint=self._title_of,
            choices=self._choices_or_none,
            lora=self._lora_with_hash,
        )

    def models_of(self, infotext: str) -> tuple[NamedModel, ...]:
        """The models that an infotext names, and whether they are here; their files may be read for their hash."""
        return named_models(parse_infotext(infotext, **self.infotext_context()), self.library)

    def device_words(self) -> str:
        """The device and the number format the networks run in: "cpu, float32"."""
        return f"{self._policy.device}, {str(self._policy.dtype).removeprefix('torch.')}"

    def last_infotext(self) -> str:
        """The infotext of the last generation, also of an earlier run of the program; "" if there is none."""
        if self.flags.no_prompt_history or not self.paths.params_file.is_file():
            return ""
        return self.paths.params_file.read_text(encoding="utf-8")

    def apply_styles(self, prompt: str, negative_prompt: str, styles: Sequence[str]) -> tuple[str, str]:
        """Both prompts with the named styles written into them."""
        return self.library.styles.apply(styles, prompt, negative_prompt)

    def style(self, name: str) -> Style | None:
        """The style called `name`, or None."""
        return self.library.styles.styles.get(name)

    def save_style(self, style: Style) -> None:
        """Adds a style, or replaces the one of its name.

        Raises:
            OutputError: If the styles file cannot be written.
        """
        self.library.styles.save(style)

    def delete_style(self, name: str) -> None:
        """Removes the style called `name`, if there is one.

        Raises:
            OutputError: If the styles file cannot be written.
        """
        self.library.styles.delete(name)

    # ---- settings ----

    def options(self) -> dict[str, Any]:
        """All settings as A1111's flat map; the checkpoint is the one in force."""
        values = self.settings.settings.model_dump(mode="json")
        selected = self.library.current_checkpoint(self.settings.settings)
        return values | {"sd_model_checkpoint": selected.title if selected else None}

    def set_options(self, values: Mapping[str, Any]) -> None:
        """Changes settings as a program asks; a new checkpoint is loaded before this returns.

        Raises:
            CheckpointNotFound, SettingsError, InvalidRequest: If a value cannot be used; nothing is changed then.
        """
        values = dict(values)
        wanted = values.pop("sd_model_checkpoint", None)
        current = self.library.current_checkpoint(self.settings.settings)
        info = self.library.checkpoints.get(str(wanted)) if wanted else None
        for note in self.settings.settings.override_notes(values):
            log.info("POST options: %s", note)
        self.settings.update(values)
        if info is not None and (current is None or info.path != current.path):
            job = self.load_checkpoint(info.title)
            job.wait()
            if isinstance(job.exception, WebuiError):
                raise job.exception

    def public_flags(self) -> dict[str, Any]:
        """The command line without its secrets."""
        return self.flags.public()

    # ---- pictures ----

    def encode_image(self, image: GeneratedImage) -> bytes:
        """`image` as a file in the format of the settings, with its infotext, for an API answer."""
        settings = self.settings.settings
        extension = settings.samples_format if settings.samples_format in API_FORMATS else "png"
        buffer = io.BytesIO()
        write_image(
            image.image,
            buffer,
            extension,
            infotext=image.infotext,
            with_metadata=settings.enable_pnginfo,
            quality=settings.jpeg_quality,
            lossless=settings.webp_lossless,
        )
        return buffer.getvalue()

    def save_copies(self, images: Sequence[GeneratedImage]) -> list[Path]:
        """Copies of pictures in the folder of the Save button, with a row in its log.csv; where they are.

        Raises:
            OutputError: If they cannot be written.

        Source: A1111 modules/ui_common.py, save_files.
        """
        if not images:
            return []
        settings, first = self.settings.settings, images[0]
        facts = [
            NameFacts(
                seed=image.seed,
                prompt=image.prompt,
                negative_prompt=image.negative_prompt,
                now=datetime.now(),
            )
            for image in images
        ]
        row = None
        if settings.save_write_log_csv:
            fields = parse_infotext(first.infotext).fields
            row = {
                "prompt": first.prompt,
                "seed": first.seed,
                "width": first.image.width,
                "height": first.image.height,
                "sampler": fields.get("Sampler"),
                "cfgs": fields.get("CFG scale"),
                "steps": fields.get("Steps"),
                "negative_prompt": first.negative_prompt,
                "sd_model_name": fields.get("Model"),
                "sd_model_hash": fields.get("Model hash"),
            }
        saved = save_selection(
            [(image.image, image.infotext, fact) for image, fact in zip(images, facts, strict=True)],
            self._output_folder(settings.outdir_save),
            options=SaveOptions.taken_from(settings),
            extension=settings.samples_format,
            log_row=row,
            save_to_dirs=settings.use_save_to_dirs_for_ui,
        )
        return [each.path for each in saved]

    # ---- getting models ----

    def curated(self) -> list[Download]:
        """Files that "Get a model" offers."""
        return list(DOWNLOADS)

    def download(
        self, name: str, on_progress: Callable[[int, int], None] | None = None, cancel: threading.Event | None = None
    ) -> Path:
        """Fetches a file of the list into its folder and lists it; where it is.

        Args:
            on_progress: Called with the bytes there and in all.

        Raises:
            InvalidRequest: If the program was started with `--offline`.
            UnknownName: If it is not on the list.
            DownloadError: If it cannot be fetched, or is not what it should be.
        """
        if self.flags.offline:
            raise InvalidRequest("The program was started with --offline; restart it without to get models.")
        path = download(DOWNLOADS.get(name), self.paths.models_dir, on_progress=on_progress, cancel=cancel)
        self.library.refresh("checkpoints")
        self.library.refresh("vaes")
        return path


def _resolved_names(sampler: str | None, scheduler: str | None) -> tuple[str, str]:
    names = resolve_sampler_and_schedule(sampler, scheduler)
    return names.sampler.name, names.schedule.name


def _guarded(work: Callable[[Job], GenerationResult], job: Job) -> GenerationResult:
    """Runs `work` without gradients; running out of memory becomes a sentence that says what to do."""
    try:
        with torch.inference_mode(False), torch.no_grad():
            return work(job)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(
            "The device ran out of memory. Make the picture or the batch smaller, or close other programs."
        ) from error
