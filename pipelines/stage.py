"""What the stages of one job share: its plan, the models, prompts encoded, passes run, steps reported."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

from pipelines.adapters.control_units import ControlRunner
from pipelines.adapters.extra_networks import LoraSpec, extract_networks, lora_specs
from pipelines.adapters.lora import LoraPatcher
from pipelines.adapters.lora_files import ActiveLora
from pipelines.adapters.token_merging import merged_tokens
from pipelines.checkpoints.model import CheckpointInfo, LoadedModel
from pipelines.conditioning.embeddings import EmbeddingIndex
from pipelines.conditioning.encode import PromptCache, encode_prompts
from pipelines.conditioning.prompt_schedule import StepCounts
from pipelines.conditioning.text_encoders import text_widths
from pipelines.conditioning.types import BatchConditioning
from pipelines.control.inputs import ControlSource
from pipelines.control.session import ControlSession, ControlTools
from pipelines.inpaint import PreparedImg2Img
from pipelines.jobs import Job
from pipelines.latents.preview import LatentPreviewer, PreviewMethod, preview_grid
from pipelines.latents.vae import circular_padding, decode, encode
from pipelines.library import Library
from pipelines.pictures import to_image, to_tensor
from pipelines.plan import BatchPlan, GenerationPlan, PassPlan, RefinerPlan
from pipelines.sampling.catalogue import SamplerKind
from pipelines.sampling.guidance import GuidedDenoiser
from pipelines.sampling.noise import ImageNoise
from pipelines.sampling.predict import DiffusionModel, SigmaPredictor, TimestepPredictor
from pipelines.sampling.run import SampledLatents, SamplingPass
from pipelines.sampling.switching import RefinerSwitch
from pipelines.sampling.types import StepInfo


class Models(Protocol):
    """Where stages get models from: the one asked for, on the device."""

    def use(self, info: CheckpointInfo, *, own_vae: bool = False) -> LoadedModel:
        """The model of `info`; with `own_vae` its own VAE whatever the settings say."""
        ...

    def patcher(self, model: LoadedModel) -> LoraPatcher:
        """The one `LoraPatcher` of `model`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Activated:
    """Prompts without network tags, and the networks in force for them."""

    prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...]
    loras: tuple[ActiveLora, ...]


@dataclass(kw_only=True)
class Stage:
    """One job on its way through the stages.

    Attributes:
        extra: Infotext entries in the order A1111 adds them; grows while the job runs.
        notes: What the user should know.
        interrupted: Whether a pass was ended early.
        control: The job's ControlNet units with their maps, or None.
        control_tools: Control networks and maps that outlive the job; needed where the plan has units.
    """

    plan: GenerationPlan
    library: Library
    models: Models
    cache: PromptCache
    job: Job
    extra: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False
    control: ControlSession | None = None
    control_tools: ControlTools | None = None

    def model(self) -> LoadedModel:
        """The job's checkpoint, on the device."""
        return self.models.use(self.plan.checkpoint)

    def note(self, text: str) -> None:
        """Adds a note once."""
        if text not in self.notes:
            self.notes.append(text)

    def activate(self, model: LoadedModel, prompts: Sequence[str], negative_prompts: Sequence[str]) -> Activated:
        """Takes network tags out of the prompts and puts the first prompt's networks into `model`.

        Source: A1111 modules/processing.py, parse_extra_network_prompts; modules/extra_networks.py, activate.
        """
        parsed = [extract_networks(prompt) for prompt in prompts]
        specs: tuple[LoraSpec, ...] = lora_specs(parsed[0][1]) if self.plan.use_networks else ()
        active, comments = self.library.loras.resolve(specs)
        for comment in (*comments, *self.models.patcher(model).apply(active)):
            self.note(comment)
        if active and self.plan.settings.lora_add_hashes_to_infotext:
            before = self.extra.get("Lora hashes")
            hashes = self.library.loras.hashes_infotext(active)
            if not before or hashes not in str(before):
                self.extra["Lora hashes"] = f"{before}, {hashes}" if before else hashes
        return Activated(
            prompts=tuple(text for text, _ in parsed),
            negative_prompts=tuple(negative_prompts),
            loras=active,
        )

    def encode(self, model: LoadedModel, part: PassPlan, texts: Activated, counts: StepCounts) -> BatchConditioning:
        """The conditioning of a pass; what infotext says about it goes to `extra`."""
        encoded = encode_prompts(
            model,
            texts.prompts,
            texts.negative_prompts,
            width=part.width,
            height=part.height,
            counts=counts,
            options=self.plan.encode,
            embeddings=self._embeddings(model, texts.loras),
            cache=self.cache,
            weights_key=self.models.patcher(model).active,
        )
        self.extra |= encoded.infotext
        return encoded.batch

    def _embeddings(self, model: LoadedModel, loras: Sequence[ActiveLora]) -> EmbeddingIndex:
        bundled = [embedding for lora in loras for embedding in self.library.loras.tensors(lora.file).embeddings]
        return self.library.embeddings.index(model.tokenizers[0], text_widths(model), bundled)

    def empty_prompt(self, model: LoadedModel, part: PassPlan) -> Tensor | None:
        """(77, D) encoding of the empty prompt where padding needs it."""
        if not part.sampling.guidance.pad_cond_uncond:
            return None
        empty = Activated(prompts=("",), negative_prompts=("",), loras=())
        return self.encode(model, part, empty, part.counts).cond[0][0].schedule[0].conditioning.cross_attention

    def noise(self, model: LoadedModel, batch: BatchPlan, rows: int, columns: int, *, ensd: bool = True) -> ImageNoise:
        """The noise of a batch at a latent size."""
        plan = self.plan.noise
        return ImageNoise(
            batch.seeds,
            shape=(int(model.vae.config["latent_channels"]), rows, columns),
            subseeds=batch.subseeds,
            subseed_strength=plan.subseed_strength,
            source=plan.source,
            ensd=plan.ensd if ensd else 0,
            seed_resize_from=plan.seed_resize_from,
            device=model.device,
        )

    @contextmanager
    def prepared(self, model: LoadedModel, part: PassPlan) -> Generator[None]:
        """`model` changed for a pass: tiling, token merging."""
        with ExitStack() as changes:
            if self.plan.tiling:
                changes.enter_context(circular_padding(model.unet, model.vae))
            changes.enter_context(merged_tokens(model.unet, part.token_merging_ratio))
            yield

    def run(
        self,
        model: LoadedModel,
        part: PassPlan,
        conditioning: BatchConditioning,
        noise: ImageNoise,
        sample: Callable[[SamplingPass], SampledLatents],
        *,
        image_conditioning: Tensor | None = None,
        refiner: RefinerSwitch | None = None,
        steps: int | None = None,
    ) -> Tensor:
        """Latents of one pass; its infotext entries go to `extra`, an interruption to `interrupted`."""
        plan = self.plan
        if plan.downcast_alphas:
            self.extra["Downcast alphas_cumprod"] = True
        if plan.zero_terminal_snr:
            self.extra["Noise Schedule"] = plan.settings.sd_noise_schedule
        is_hires = part.sampling.first_pass_schedule is not None
        runner = self._control_runner(model, noise.seeds, is_hires=is_hires)
        if runner is not None and self.control is not None:
            image_conditioning = self.control.image_conditioning(model, image_conditioning, is_hires=is_hires)
        diffusion = DiffusionModel.of(
            model,
            control=runner,
            change=None if runner is None else runner.adjusted,
            empty_prompt=self.empty_prompt(model, part),
            downcast_alphas=plan.downcast_alphas,
            zero_terminal_snr=plan.zero_terminal_snr,
        )
        self.job.started_run(steps or part.sampling.steps)
        report = _Reporter(self, model)
        with self.prepared(model, part), nullcontext() if runner is None else runner.installed():
            sampled = sample(
                SamplingPass(
                    diffusion,
                    conditioning,
                    noise,
                    part.sampling,
                    image_conditioning=image_conditioning,
                    refiner=refiner,
                    on_step=report if runner is None else runner.reporting(report),
                )
            )
        self.job.finished_run()
        self.extra |= sampled.infotext
        self.interrupted |= sampled.interrupted
        return sampled.latents

    def prepare_control(self, prepared: PreparedImg2Img | None) -> None:
        """Makes the maps of the job's ControlNet units; without units, networks kept from earlier jobs are let go.

        Args:
            prepared: The img2img sources made ready, or None.
        """
        tools, plan, source = self.control_tools, self.plan.control, self.plan.source
        if tools is None or plan is None:
            if tools is not None:
                tools.networks.clear()
            return
        picture = None
        if source is not None:
            mask = prepared.mask if prepared is not None else None
            picture = ControlSource(
                image=source.images[0],
                resize_mode=source.preparation.resize_mode,
                width=source.preparation.width,
                height=source.preparation.height,
                inpaint=source.preparation.inpaint,
                region=mask.region if mask is not None else None,
            )
        self.control = ControlSession(plan=plan, tools=tools, source=picture)
        self.control.prepare(self.job.say)

    def _control_runner(self, model: LoadedModel, seeds: Sequence[int], *, is_hires: bool) -> ControlRunner | None:
        """The job's control networks for a pass, loaded."""
        if self.control is None:
            return None
        self.job.say("Loading control models")
        patched = self.models.patcher(model).active
        return self.control.runner(model, seeds, is_hires=is_hires, weights_key=patched)

    def control_start(self, model: LoadedModel, noise: Tensor) -> Tensor:
        """The noise txt2img starts from, with what the job's units put into it."""
        return noise if self.control is None else self.control.start(model, noise)

    def finish_control(self, pictures: list[Image.Image]) -> list[Image.Image]:
        """Decoded pictures as the job's ControlNet units leave them."""
        if self.control is None:
            return pictures
        return self.control.finish(pictures, is_hires=self.plan.hires is not None)

    def refiner(self, batch: BatchPlan, part: PassPlan, *, is_hires: bool) -> RefinerSwitch | None:
        """The model that takes over in this pass, if any."""
        refiner = self.plan.refiner
        if refiner is None or not (refiner.in_hires_pass if is_hires else refiner.in_first_pass):
            return None
        if refiner.checkpoint.path == self.plan.checkpoint.path:
            return None
        if self.plan.settings.hires_fix_refiner_pass != "second pass":
            self.extra["Hires refiner"] = self.plan.settings.hires_fix_refiner_pass
        return RefinerSwitch(
            name=refiner.checkpoint.title,
            switch_at=refiner.switch_at,
            load=functools.partial(self._load_refiner, refiner, batch, part, is_hires),
            by_steps=refiner.by_steps,
        )

    def _load_refiner(
        self, refiner: RefinerPlan, batch: BatchPlan, part: PassPlan, is_hires: bool, first_call: int
    ) -> GuidedDenoiser:
        self.job.say(f"Loading {refiner.checkpoint.name}")
        model = self.models.use(refiner.checkpoint, own_vae=True)
        prompts = batch.hires_prompts if is_hires else batch.prompts
        negative_prompts = batch.hires_negative_prompts if is_hires else batch.negative_prompts
        texts = Activated(
            prompts=tuple(extract_networks(prompt)[0] for prompt in prompts),
            negative_prompts=tuple(negative_prompts),
            loras=(),
        )
        diffusion = DiffusionModel.of(
            model, downcast_alphas=self.plan.downcast_alphas, zero_terminal_snr=self.plan.zero_terminal_snr
        )
        over_timesteps = part.sampling.sampler.kind is SamplerKind.TIMESTEPS
        return GuidedDenoiser(
            TimestepPredictor(diffusion) if over_timesteps else SigmaPredictor(diffusion),
            self.encode(model, part, texts, part.counts),
            part.sampling.guidance,
            calls=part.counts.steps,
            first_call=first_call,
        )

    def decode(self, model: LoadedModel, latents: Tensor) -> list[Image.Image]:
        """Pictures of `latents`, 8-bit RGB."""
        self.job.say("Decoding")
        with ExitStack() as changes:
            if self.plan.tiling:
                changes.enter_context(circular_padding(model.vae))
            return [to_image(picture) for picture in decode(model.vae, latents, on_note=self.note)]

    def restore_faces(self, pictures: Sequence[Image.Image]) -> list[Image.Image]:
        """`pictures` with restored faces where the job asks for them; the same objects where nothing was done.

        Source: A1111 modules/face_restoration.py, restore_faces; modules/codeformer_model.py for the weight.
        """
        restorer, settings = self.plan.face_restorer, self.plan.settings
        if restorer is None:
            return list(pictures)
        self.job.say(f"Restoring faces with {restorer.name}")
        restored = [restorer.restore(picture, settings.code_former_weight) for picture in pictures]
        if settings.face_restoration_unload:
            restorer.unload()
        return restored

    def encode_pictures(self, model: LoadedModel, pictures: Sequence[Image.Image], seeds: Sequence[int]) -> Tensor:
        """Latents of `pictures`; the VAE's posterior noise comes from each picture's own seed.

        A1111 leaves it to torch's global generator, which its noise has seeded with the last picture of the batch;
        so for single pictures this is the same, and picture k of a batch equals that picture alone.
        """
        self.job.say("Encoding")
        pixels = to_tensor(list(pictures))
        with ExitStack() as changes:
            if self.plan.tiling:
                changes.enter_context(circular_padding(model.vae))
            return torch.cat(
                [
                    encode(model.vae, pixels[index : index + 1], generator=torch.Generator().manual_seed(seed % 2**63))
                    for index, seed in enumerate(seeds)
                ]
            )


SMALL_VAE_PARAMETERS = 10_000_000
"""A VAE up to this size shows every step in full: it takes less time than a step."""


class _Reporter:
    """Tells the job of every step, shows previews, and ends the pass when the job is stopped."""

    def __init__(self, stage: Stage, model: LoadedModel) -> None:
        settings = stage.plan.settings
        is_small = sum(weights.numel() for weights in model.vae.parameters()) <= SMALL_VAE_PARAMETERS
        self._job = stage.job
        self._enabled = settings.live_previews_enable
        self._as_grid = settings.show_progress_grid
        self._every = 1 if is_small else settings.show_progress_every_n_steps
        self._shown_at = 0

        def decode_all(latents: Tensor) -> Tensor:
            return torch.stack(list(decode(model.vae, latents)))

        self._preview = LatentPreviewer(
            PreviewMethod.FULL if is_small else PreviewMethod(settings.show_progress_type),
            model.family,
            models_folder=stage.library.models_folder,
            decode=decode_all,
            device=model.device,
        )

    def __call__(self, info: StepInfo) -> None:
        self._job.raise_if_stopped()
        self._job.stepped(info.step)
        due = self._every > 0 and info.step - self._shown_at >= self._every
        if self._enabled and due and info.denoised is not None:
            self._shown_at = info.step
            shown = info.denoised if self._as_grid else info.denoised[:1]
            self._job.show_preview(preview_grid(self._preview(shown)))
