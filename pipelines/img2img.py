"""Image to image and inpainting: encode, noise, sample, blend."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from pipelines.checkpoints.model import LoadedModel
from pipelines.inpaint import (
    MaskedContent,
    PreparedImg2Img,
    conditioning_mask,
    finish_picture,
    hide_masked,
    masked_start,
    stack_conditioning,
)
from pipelines.latents.vae import encode, encode_mode
from pipelines.masks import mask_composite, place_result
from pipelines.pictures import to_tensor
from pipelines.plan import BatchPlan, PassPlan, SourcePlan
from pipelines.sampling.masked import Blend, SoftBlend, linear_blend
from pipelines.sampling.noise import ImageNoise
from pipelines.sampling.run import img2img_steps
from pipelines.soft_inpaint import soft_overlays
from pipelines.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Img2ImgPicture:
    """One finished picture and what belongs to it.

    Attributes:
        uncorrected: Before colour correction, when that was done.
        unrestored: Before its faces were restored, when that was done.
        mask, composite: The mask used and the repainted part alone, when there was a mask.
    """

    image: Image.Image
    uncorrected: Image.Image | None = None
    unrestored: Image.Image | None = None
    mask: Image.Image | None = None
    composite: Image.Image | None = None


def img2img(stage: Stage, batch: BatchPlan, source: SourcePlan, prepared: PreparedImg2Img) -> list[Img2ImgPicture]:
    """The pictures of one batch.

    Source: A1111 modules/processing.py, StableDiffusionProcessingImg2Img.init and sample.
    """
    part = stage.plan.first
    model = stage.model()
    texts = stage.activate(model, batch.prompts, batch.negative_prompts)
    conditioning = stage.encode(model, part, texts, part.counts)
    latents = stage.encode_pictures(model, prepared.pictures, batch.seeds)
    if prepared.latent_size is not None:
        latents = functional.interpolate(latents, size=prepared.latent_size, mode="bilinear")
    rows, columns = int(latents.shape[2]), int(latents.shape[3])
    nmask = _latent_mask(prepared, rows, columns, latents)
    if nmask is not None and prepared.mask is not None:
        latents = masked_start(
            latents, nmask, prepared.mask.content, _fill_noise(stage, model, prepared, rows, columns)
        )
    noise = stage.noise(model, batch, rows, columns)
    start = noise.initial()
    multiplier = stage.plan.noise.initial_multiplier
    if multiplier != 1.0:
        stage.extra["Noise multiplier"] = multiplier
        start = start * multiplier
    sampled = stage.run(
        model,
        part,
        conditioning,
        noise,
        lambda sampling: sampling.from_latents(
            latents,
            start,
            denoising_strength=source.denoising_strength,
            mask=nmask,
            blend=_blend(source),
        ),
        image_conditioning=_image_conditioning(model, source, prepared),
        refiner=stage.refiner(batch, part, is_hires=False),
        steps=_step_count(part, source),
    )
    overlays = prepared.overlays if source.overlay else ()
    if nmask is not None and source.soft is None:
        sampled = linear_blend(sampled, latents, nmask, torch.zeros(1))
    elif nmask is not None and source.soft is not None:
        overlays = _soft_overlays(part, source, prepared, nmask, latents, sampled)
    pictures = stage.finish_control(stage.decode(stage.model(), sampled))
    restored = stage.restore_faces(pictures)
    finished = [_finished(picture, index, prepared, overlays) for index, picture in enumerate(restored)]
    return [
        replace(result, unrestored=before if before is not after else None)
        for result, before, after in zip(finished, pictures, restored, strict=True)
    ]


def _step_count(part: PassPlan, source: SourcePlan) -> int:
    sampling = part.sampling
    _, t_enc = img2img_steps(sampling.steps, source.denoising_strength, explicit=False, fix_steps=sampling.fix_steps)
    return t_enc + 1


def _blend(source: SourcePlan) -> Blend:
    soft = source.soft
    if soft is None:
        return linear_blend
    return SoftBlend(
        power=soft.schedule_bias,
        scale=soft.preservation_strength,
        detail_preservation=soft.transition_contrast_boost,
    )


def _latent_mask(prepared: PreparedImg2Img, rows: int, columns: int, like: Tensor) -> Tensor | None:
    """The mask at latent size, (1, 1, rows, columns), 1 = repaint; None without a mask."""
    mask = prepared.latent_mask(rows, columns)
    return None if mask is None else torch.from_numpy(mask)[None, None].to(like)


def _fill_noise(stage: Stage, model: LoadedModel, prepared: PreparedImg2Img, rows: int, columns: int) -> Tensor | None:
    """First draw of the seeds of the job's first batch, whatever the batch: what A1111 fills masks with."""
    if prepared.mask is None or prepared.mask.content != MaskedContent.LATENT_NOISE:
        return None
    seeds = stage.plan.batches[0].seeds[: prepared.batch_size]
    shape = (int(model.vae.config["latent_channels"]), rows, columns)
    return ImageNoise(seeds, shape=shape, source=stage.plan.noise.source, device=model.device).initial()


def _image_conditioning(model: LoadedModel, source: SourcePlan, prepared: PreparedImg2Img) -> Tensor | None:
    """What inpainting and edit checkpoints see of the source.

    Source: A1111 modules/processing.py, inpainting_image_conditioning and edit_image_conditioning.
    """
    if not (model.is_inpaint or model.is_edit):
        return None
    pixels = to_tensor(list(prepared.pictures))
    if model.is_edit:
        return encode_mode(model.vae, pixels)
    mask = conditioning_mask(
        prepared.mask.conditioning if prepared.mask else None,
        height=pixels.shape[2],
        width=pixels.shape[3],
        binarize=prepared.mask.binarize if prepared.mask else True,
    )
    hidden = hide_masked(pixels, mask, source.mask_weight)
    return stack_conditioning(mask, encode(model.vae, hidden, generator=torch.Generator().manual_seed(0)))


def _soft_overlays(
    part: PassPlan, source: SourcePlan, prepared: PreparedImg2Img, nmask: Tensor, before: Tensor, after: Tensor
) -> tuple[Image.Image, ...]:
    assert source.soft is not None
    overlays = soft_overlays(
        source.soft,
        nmask=nmask,
        source=before,
        result=after,
        pictures=prepared.flattened,
        width=part.width,
        height=part.height,
        place=prepared.place,
    )
    return tuple(soft.overlay for soft in overlays)


def _finished(
    picture: Image.Image, index: int, prepared: PreparedImg2Img, overlays: tuple[Image.Image, ...]
) -> Img2ImgPicture:
    target = prepared.color_targets[index] if prepared.color_targets else None
    overlay = overlays[index] if overlays else None
    image = finish_picture(picture, target=target, overlay=overlay, place=prepared.place)
    if prepared.mask is None:
        return Img2ImgPicture(image=image, uncorrected=picture if target is not None else None)
    mask = prepared.mask.overlay
    size = overlay.size if overlay is not None else picture.size
    return Img2ImgPicture(
        image=image,
        uncorrected=finish_picture(picture, target=None, overlay=overlay, place=prepared.place)
        if target is not None
        else None,
        mask=mask.convert("RGB"),
        composite=mask_composite(place_result(picture, size, prepared.place), mask),
    )
