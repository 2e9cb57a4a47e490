"""A planned job from its first batch to its saved pictures and grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from pipelines.checkpoints.model import LoadedModel
from pipelines.color import color_target
from pipelines.img2img import Img2ImgPicture, img2img
from pipelines.inpaint import PreparedImg2Img, prepare_img2img
from pipelines.output.filenames import NameFacts
from pipelines.output.grid import grid_size, image_grid
from pipelines.output.save import SaveOptions, save_image
from pipelines.plan import BatchPlan, GenerationPlan
from pipelines.stage import Stage
from pipelines.txt2img import txt2img
from schema.errors import OutputError
from schema.record import GenerationRecord, write_record
from schema.results import GeneratedImage, GenerationResult
from schema.version import INFOTEXT_VERSION


@dataclass(frozen=True, kw_only=True)
class OutputFolders:
    """Where the pictures of one kind go."""

    samples: Path
    grids: Path
    init_images: Path


def generate(stage: Stage, folders: OutputFolders, on_first: Callable[[str], None]) -> GenerationResult:
    """Runs every batch of the plan; what was finished before an interruption is delivered.

    Args:
        on_first: Told the first picture's infotext, for `params.txt`.

    Source: A1111 modules/processing.py, process_images_inner.
    """
    return _Run(stage=stage, folders=folders, on_first=on_first).run()


@dataclass(kw_only=True)
class _Run:
    stage: Stage
    folders: OutputFolders
    on_first: Callable[[str], None]
    images: list[GeneratedImage] = field(default_factory=list[GeneratedImage])
    pictures: list[Image.Image] = field(default_factory=list[Image.Image])

    @property
    def plan(self) -> GenerationPlan:
        return self.stage.plan

    def run(self) -> GenerationResult:
        stage, job = self.stage, self.stage.job
        stage.extra |= self.plan.extra
        stage.notes += [note for note in self.plan.notes if note not in stage.notes]
        job.say(f"Loading {self.plan.checkpoint.name}")
        model = stage.model()
        prepared = self._prepare()
        stage.prepare_control(prepared)
        for batch in self.plan.batches:
            if job.stop_requested:
                break
            job.begin_batch()
            stage.interrupted = False
            self._run_batch(batch, prepared)
        infotexts = [image.infotext for image in self.images]
        grid = self._grid(model)
        images = (*([grid] if grid else []), *self.images, *self._control_maps(model))
        return GenerationResult(
            images=images,
            info=self._info(model, infotexts if grid is None else [grid.infotext, *infotexts], grid is not None),
            notes=tuple(stage.notes),
            interrupted=job.stop_requested,
        )

    def _prepare(self) -> PreparedImg2Img | None:
        """The img2img sources, made ready once for all batches; fewer sources than the batch holds shrink it."""
        source = self.plan.source
        if source is None:
            return None
        prepared = prepare_img2img(source.preparation, source.images)
        if self.plan.color_source is not None and prepared.color_targets:
            target = color_target(self.plan.color_source)
            prepared = replace(prepared, color_targets=(target,) * len(prepared.color_targets))
        self.stage.extra |= prepared.infotext
        for note in prepared.notes:
            self.stage.note(note)
        if prepared.batch_size != self.plan.batch_size:
            self.stage.plan = replace(
                self.plan,
                batches=tuple(_shrunk(batch, prepared.batch_size) for batch in self.plan.batches),
                batch_size=prepared.batch_size,
            )
        return prepared

    def _run_batch(self, batch: BatchPlan, prepared: PreparedImg2Img | None) -> None:
        source = self.plan.source
        if source is not None and prepared is not None:
            finished = img2img(self.stage, batch, source, prepared)
        else:
            pictures = txt2img(self.stage, batch)
            finished = [
                Img2ImgPicture(image=after, unrestored=before if before is not after else None)
                for before, after in zip(pictures, self.stage.restore_faces(pictures), strict=True)
            ]
        model = self.stage.model()
        record = self._record(model)
        for place, picture in enumerate(finished):
            self._add(model, record, batch, place, picture)

    def _add(
        self, model: LoadedModel, record: GenerationRecord, batch: BatchPlan, place: int, picture: Img2ImgPicture
    ) -> None:
        settings = self.plan.settings
        index = batch.index * len(batch.seeds) + place
        infotext = write_record(record, index, settings=settings, version=INFOTEXT_VERSION)
        if not self.images:
            self.on_first(infotext)
        facts = self._facts(model, batch, place)
        keep = self.plan.save_images and (not self.stage.interrupted or settings.save_incomplete_images)
        if keep and picture.unrestored is not None and settings.save_images_before_face_restoration:
            self._save(picture.unrestored, facts, infotext, suffix="-before-face-restoration")
        if keep and picture.uncorrected is not None and settings.save_images_before_color_correction:
            self._save(picture.uncorrected, facts, infotext, suffix="-before-color-correction")
        path = self._save(picture.image, facts, infotext) if keep else None
        image = picture.image
        image.info["parameters"] = infotext
        made = GeneratedImage(
            image=image,
            infotext=infotext,
            seed=batch.seeds[place],
            subseed=batch.subseeds[place],
            prompt=batch.prompts[place],
            negative_prompt=batch.negative_prompts[place],
            path=path,
        )
        self.images.append(made)
        self.pictures.append(image)
        self.stage.job.add_image(made)
        for extra, name, returned, saved in (
            (picture.mask, "-mask", settings.return_mask, settings.save_mask),
            (picture.composite, "-mask-composite", settings.return_mask_composite, settings.save_mask_composite),
        ):
            if extra is not None and keep and saved:
                self._save(extra, facts, infotext, suffix=name)
            if extra is not None and returned:
                self.images.append(replace(made, image=extra, path=None))

    def _save(self, image: Image.Image, facts: NameFacts, infotext: str, *, suffix: str = "") -> Path | None:
        """Where the picture was saved; a failure is noted and the picture stays in the gallery."""
        try:
            saved = save_image(
                image,
                self.folders.samples,
                facts=facts,
                options=SaveOptions.taken_from(self.plan.settings),
                infotext=infotext,
                suffix=suffix,
            )
        except OutputError as error:
            self.stage.note(f"{error} The picture is in the gallery; save it from there.")
            return None
        return saved.path

    def _control_maps(self, model: LoadedModel) -> list[GeneratedImage]:
        """The maps of the job's ControlNet units, which follow the pictures.

        Source: sd-webui-controlnet scripts/controlnet.py, Script.postprocess.
        """
        plan, session = self.plan.control, self.stage.control
        if plan is None or session is None or not self.images:
            return []
        shown = session.shown_maps()
        if plan.maps_folder and self.plan.save_images:
            facts = self._facts(model, self.plan.batches[0], 0)
            for unit, picture in shown:
                folder = self.folders.samples / plan.maps_folder / unit.preprocessor.name
                try:
                    save_image(picture, folder, facts=facts, options=SaveOptions.taken_from(self.plan.settings))
                except OutputError as error:
                    self.stage.note(str(error))
        return [replace(self.images[0], image=picture, path=None) for _, picture in shown]

    def _grid(self, model: LoadedModel) -> GeneratedImage | None:
        settings = self.plan.settings
        wanted = self.plan.make_grid and (settings.return_grid or settings.grid_save)
        if not wanted or not self.pictures or (len(self.pictures) < 2 and settings.grid_only_if_multiple):
            return None
        columns, _ = grid_size(
            len(self.pictures),
            batch_size=self.plan.batch_size,
            n_rows=settings.n_rows,
            prevent_empty_spots=settings.grid_prevent_empty_spots,
        )
        sheet = image_grid(self.pictures, columns=columns, background=settings.grid_background_color)
        infotext = write_record(self._record(model), settings=settings, main=True, version=INFOTEXT_VERSION)
        sheet.info["parameters"] = infotext
        first = self.images[0]
        path = None
        if settings.grid_save:
            facts = replace(self._facts(model, self.plan.batches[0], 0), basename="grid")
            try:
                path = save_image(
                    sheet,
                    self.folders.grids,
                    facts=facts,
                    options=SaveOptions.taken_from(settings),
                    infotext=infotext,
                    is_grid=True,
                    is_short_name=not settings.grid_extended_filename,
                ).path
            except OutputError as error:
                self.stage.note(str(error))
        if not settings.return_grid:
            return None
        return replace(first, image=sheet, infotext=infotext, path=path, is_grid=True)

    def _record(self, model: LoadedModel) -> GenerationRecord:
        plan, part = self.plan, self.plan.first
        batches = plan.batches
        sampling = part.sampling
        vae = model.vae_path
        eta = sampling.eta if sampling.eta is not None else sampling.eta_ancestral
        hires_merging = plan.hires.pass_.token_merging_ratio if plan.hires else 0.0
        return GenerationRecord(
            prompts=[prompt for batch in batches for prompt in batch.prompts],
            negative_prompts=[prompt for batch in batches for prompt in batch.negative_prompts],
            seeds=[seed for batch in batches for seed in batch.seeds],
            subseeds=[seed for batch in batches for seed in batch.subseeds],
            main_prompt=plan.main_prompt,
            main_negative_prompt=plan.main_negative_prompt,
            steps=sampling.steps,
            sampler=sampling.sampler.name,
            scheduler=sampling.schedule.name,
            cfg_scale=sampling.guidance.cfg_scale,
            image_cfg_scale=sampling.guidance.image_cfg_scale if model.is_edit else None,
            width=part.width,
            height=part.height,
            restores_faces=plan.restore_faces,
            model_hash=model.checkpoint.short_hash,
            model_name=model.checkpoint.stem,
            vae_hash=self.stage.library.hashes.sha256(vae)[:10] if vae else None,
            vae_name=vae.name if vae else None,
            subseed_strength=plan.subseed_strength,
            seed_resize_from_w=plan.seed_resize_from_w,
            seed_resize_from_h=plan.seed_resize_from_h,
            uses_mask_conditioning=model.is_inpaint,
            eta=eta,
            uses_ensd=sampling.sampler.uses_ensd,
            token_merging_ratio=part.token_merging_ratio,
            token_merging_ratio_hr=hires_merging,
            tiling=plan.tiling,
            extra=self.stage.extra,
        )

    def _facts(self, model: LoadedModel, batch: BatchPlan, place: int) -> NameFacts:
        plan = self.plan
        sampling = plan.first.sampling
        strength = plan.source.denoising_strength if plan.source else None
        return NameFacts(
            prompt=batch.prompts[place],
            negative_prompt=batch.negative_prompts[place],
            seed=batch.seeds[place],
            seeds=tuple(seed for each in plan.batches for seed in each.seeds),
            steps=sampling.steps,
            cfg_scale=sampling.guidance.cfg_scale,
            sampler=sampling.sampler.name,
            schedule=sampling.schedule.name,
            default_schedule=sampling.sampler.default_schedule,
            styles=plan.styles,
            model_name=model.checkpoint.stem,
            model_hash=model.checkpoint.short_hash,
            vae_file=model.vae_path.name if model.vae_path else None,
            clip_skip=plan.settings.CLIP_stop_at_last_layers,
            denoising_strength=plan.hires.denoising_strength if plan.hires else strength,
            batch_size=plan.batch_size,
            n_iter=len(plan.batches),
            batch_index=place,
            iteration=batch.index,
            job_started=self.stage.job.timestamp,
            max_prompt_words=plan.settings.directories_max_prompt_words,
        )

    def _info(self, model: LoadedModel, infotexts: Sequence[str], has_grid: bool) -> dict[str, Any]:
        """A1111's `info` object. Source: A1111 modules/processing.py, Processed.js."""
        plan, sampling = self.plan, self.plan.first.sampling
        batches = plan.batches
        seeds = [seed for batch in batches for seed in batch.seeds]
        subseeds = [seed for batch in batches for seed in batch.subseeds]
        return {
            "prompt": plan.main_prompt,
            "all_prompts": [prompt for batch in batches for prompt in batch.prompts],
            "negative_prompt": plan.main_negative_prompt,
            "all_negative_prompts": [prompt for batch in batches for prompt in batch.negative_prompts],
            "seed": seeds[0],
            "all_seeds": seeds,
            "subseed": subseeds[0],
            "all_subseeds": subseeds,
            "subseed_strength": plan.subseed_strength,
            "width": plan.first.width,
            "height": plan.first.height,
            "sampler_name": sampling.sampler.name,
            "cfg_scale": sampling.guidance.cfg_scale,
            "steps": sampling.steps,
            "batch_size": plan.batch_size,
            "restore_faces": plan.restore_faces,
            "face_restoration_model": plan.settings.face_restoration_model if plan.restore_faces else None,
            "sd_model_name": model.checkpoint.stem,
            "sd_model_hash": model.checkpoint.short_hash,
            "sd_vae_name": model.vae_path.name if model.vae_path else None,
            "sd_vae_hash": self.stage.library.hashes.sha256(model.vae_path)[:10] if model.vae_path else None,
            "seed_resize_from_w": plan.seed_resize_from_w,
            "seed_resize_from_h": plan.seed_resize_from_h,
            "denoising_strength": self.stage.extra.get("Denoising strength"),
            "extra_generation_params": dict(self.stage.extra),
            "index_of_first_image": int(has_grid),
            "infotexts": list(infotexts),
            "styles": list(plan.styles),
            "job_timestamp": self.stage.job.timestamp,
            "clip_skip": plan.settings.CLIP_stop_at_last_layers,
            "is_using_inpainting_conditioning": model.is_inpaint,
            "version": INFOTEXT_VERSION,
        }


def _shrunk(batch: BatchPlan, size: int) -> BatchPlan:
    """`batch` with the first `size` of its pictures."""
    return replace(
        batch,
        prompts=batch.prompts[:size],
        negative_prompts=batch.negative_prompts[:size],
        hires_prompts=batch.hires_prompts[:size],
        hires_negative_prompts=batch.hires_negative_prompts[:size],
        seeds=batch.seeds[:size],
        subseeds=batch.subseeds[:size],
    )
