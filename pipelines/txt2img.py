"""Text to image: noise, first pass, and the hires pass where it is asked for."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from pipelines.checkpoints.model import LoadedModel
from pipelines.hires import crop_latents, enlarge_picture
from pipelines.inpaint import conditioning_mask, hide_masked, stack_conditioning
from pipelines.latents.resize import LATENT_UPSCALE_MODES, resize_latents
from pipelines.latents.vae import encode
from pipelines.pictures import to_tensor
from pipelines.plan import BatchPlan, HiresPlan
from pipelines.stage import Activated, Stage
from pipelines.upscalers.base import upscale_with


def txt2img(stage: Stage, batch: BatchPlan) -> list[Image.Image]:
    """The pictures of one batch.

    Source: A1111 modules/processing.py, StableDiffusionProcessingTxt2Img.sample.
    """
    plan, part = stage.plan, stage.plan.first
    model = stage.model()
    texts = stage.activate(model, batch.prompts, batch.negative_prompts)
    if plan.firstpass_image is not None and plan.hires is not None:
        first = _given_first_pass(stage, model, batch, plan.firstpass_image, plan.hires)
    else:
        conditioning = stage.encode(model, part, texts, part.counts)
        noise = stage.noise(model, batch, part.height // 8, part.width // 8)
        start = stage.control_start(model, noise.initial())
        first = stage.run(
            model,
            part,
            conditioning,
            noise,
            lambda sampling: sampling.from_noise(start),
            image_conditioning=_blank_conditioning(model, len(batch.seeds), part.height // 8, part.width // 8),
            refiner=stage.refiner(batch, part, is_hires=False),
        )
    if plan.hires is not None and not stage.job.interrupted and not stage.job.skipped:
        model, latents = _second_pass(stage, batch, plan.hires, first, texts)
        return stage.finish_control(stage.decode(model, latents))
    if isinstance(first, Image.Image):
        return [first]
    return stage.finish_control(stage.decode(stage.model(), first))


def _given_first_pass(
    stage: Stage, model: LoadedModel, batch: BatchPlan, image: Image.Image, hires: HiresPlan
) -> Tensor | Image.Image:
    """A finished picture in place of the first pass: as it is for a picture upscaler, else encoded.

    Source: A1111 modules/txt2img.py, txt2img_upscale.
    """
    stage.job.finished_run()
    if hires.upscaler is not None:
        return image.convert("RGB")
    return stage.encode_pictures(model, [image] * len(batch.seeds), batch.seeds)


def _second_pass(
    stage: Stage, batch: BatchPlan, hires: HiresPlan, first: Tensor | Image.Image, texts: Activated
) -> tuple[LoadedModel, Tensor]:
    """Enlarges the first pass's result, adds the seeds' noise at the new size and samples again.

    Source: A1111 modules/processing.py, StableDiffusionProcessingTxt2Img.sample_hr_pass.
    """
    part, settings = hires.pass_, stage.plan.settings
    pictures: list[Image.Image] = []
    if hires.upscaler is not None:
        first_model = stage.model()
        decoded = [first] * len(batch.seeds) if isinstance(first, Image.Image) else stage.decode(first_model, first)
        stage.job.say(f"Upscaling with {hires.upscaler.name}")
        upscale = upscale_with(hires.upscaler)
        pictures = [enlarge_picture(picture, hires.size, upscale) for picture in decoded]
    model = stage.models.use(hires.checkpoint) if hires.checkpoint else stage.model()
    if pictures:
        latents = stage.encode_pictures(model, pictures, batch.seeds)
    else:
        assert isinstance(first, torch.Tensor) and hires.latent_mode is not None
        rows, columns = hires.size.latent_size
        latents = resize_latents(first, height=rows, width=columns, mode=LATENT_UPSCALE_MODES.get(hires.latent_mode))
    latents = crop_latents(latents, hires.size)
    rows, columns = int(latents.shape[2]), int(latents.shape[3])
    noise = stage.noise(model, batch, rows, columns)
    start = noise.initial()
    if not settings.hires_fix_use_firstpass_conds:
        texts = stage.activate(model, batch.hires_prompts, batch.hires_negative_prompts)
    first_schedule = stage.extra.get("Schedule type", stage.plan.first.sampling.schedule.name)
    part = part.as_second(str(first_schedule))
    conditioning = stage.encode(model, part, texts, part.counts)
    latents = stage.run(
        model,
        part,
        conditioning,
        noise,
        lambda sampling: sampling.from_latents(
            latents, start, denoising_strength=hires.denoising_strength, explicit_steps=True
        ),
        image_conditioning=_picture_conditioning(model, pictures, settings.inpainting_mask_weight)
        if pictures
        else _blank_conditioning(model, len(batch.seeds), rows, columns),
        refiner=stage.refiner(batch, part, is_hires=True),
    )
    return stage.models.use(hires.checkpoint) if hires.checkpoint else stage.model(), latents


def _blank_conditioning(model: LoadedModel, count: int, rows: int, columns: int) -> Tensor | None:
    """What an inpainting checkpoint sees without a picture: everything masked, over mid-grey.

    Source: A1111 modules/processing.py, txt2img_image_conditioning.
    """
    if model.is_edit:
        return torch.zeros(count, 4, rows, columns, device=model.device)
    if not model.is_inpaint:
        return None
    grey = encode(model.vae, torch.zeros(1, 3, rows * 8, columns * 8), generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, 1, rows * 8, columns * 8)
    return stack_conditioning(mask, grey).expand(count, -1, -1, -1)


def _picture_conditioning(model: LoadedModel, pictures: list[Image.Image], weight: float) -> Tensor | None:
    """What an inpainting checkpoint sees in the hires pass: everything masked, over the enlarged picture."""
    if not model.is_inpaint:
        return None
    pixels = to_tensor(pictures)
    mask = conditioning_mask(None, height=pixels.shape[2], width=pixels.shape[3], binarize=True)
    hidden = hide_masked(pixels, mask, weight)
    return stack_conditioning(mask, encode(model.vae, hidden, generator=torch.Generator().manual_seed(0)))
