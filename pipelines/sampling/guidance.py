"""Classifier-free guidance: conditional and unconditional predictions in one batch, combined into one estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipelines.conditioning.types import BatchConditioning, Conditioning, at_call
from pipelines.sampling.predict import Predictor
from pipelines.sampling.types import ConditioningBatch
from schema.errors import InvalidRequest

InfotextValue = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class GuidanceOptions:
    """How predictions are combined; names of settings are A1111's.

    Attributes:
        cfg_scale: Guidance scale w; 1 is the conditional prediction alone.
        image_cfg_scale: Weight of the image direction, edit models only; None or 1 leaves it out.
        rescale: Share by which the guided x0 takes the conditional one's standard deviation (Lin et al. 2023, eq. 15
            and 16); 0 is off. A1111 1.10.1 has no such control.
        skip_early_cond: Share of the calls, from the start, that leave out the negative prompt.
        s_min_uncond: Below this sigma the negative prompt is left out ("NGMS").
        s_min_uncond_all: NGMS at every call instead of every second.
        pad_cond_uncond: Lengthen the shorter of prompt and negative prompt by empty prompts.
        pad_cond_uncond_v0: Repeat the negative prompt's last vector, or cut it, to the prompt's length.
        batch_cond_uncond: Ask for both in one call; off halves memory and gives the same result.
    """

    cfg_scale: float = 7.0
    image_cfg_scale: float | None = None
    rescale: float = 0.0
    skip_early_cond: float = 0.0
    s_min_uncond: float = 0.0
    s_min_uncond_all: bool = False
    pad_cond_uncond: bool = False
    pad_cond_uncond_v0: bool = False
    batch_cond_uncond: bool = True


def _lengthen(tensor: Tensor, tokens: int) -> Tensor:
    """(T, D) with its last vector repeated up to `tokens` rows."""
    missing = tokens - tensor.shape[0]
    return torch.cat([tensor, tensor[-1:].expand(missing, -1)]) if missing > 0 else tensor


def _stack_optional(values: Sequence[Tensor | None]) -> Tensor | None:
    present = [value for value in values if value is not None]
    return torch.stack(present) if len(present) == len(values) and present else None


def stack_conditionings(conditionings: Sequence[Conditioning]) -> Conditioning:
    """Conditionings as one with a leading batch axis; shorter ones repeat their last vector.

    Source: A1111 modules/prompt_parser.py, stack_conds.
    """
    tokens = max(each.cross_attention.shape[0] for each in conditionings)
    return Conditioning(
        cross_attention=torch.stack([_lengthen(each.cross_attention, tokens) for each in conditionings]),
        pooled=_stack_optional([each.pooled for each in conditionings]),
        time_ids=_stack_optional([each.time_ids for each in conditionings]),
    )


def cond_at_call(conditioning: BatchConditioning, call: int) -> tuple[list[list[tuple[int, float]]], Conditioning]:
    """The positive prompts in force at `call`: per image its (row, weight) parts, and the stacked rows.

    Source: A1111 modules/prompt_parser.py, reconstruct_multicond_batch.
    """
    rows: list[Conditioning] = []
    parts: list[list[tuple[int, float]]] = []
    for image in conditioning.cond:
        parts.append([(len(rows) + k, part.weight) for k, part in enumerate(image)])
        rows += [at_call(part.schedule, call) for part in image]
    return parts, stack_conditionings(rows)


def uncond_at_call(conditioning: BatchConditioning, call: int) -> Conditioning:
    """The negative prompts in force at `call`, one row per image."""
    return stack_conditionings([at_call(schedule, call) for schedule in conditioning.uncond])


def pad_with_empty(cond: Tensor, uncond: Tensor, empty: Tensor) -> tuple[Tensor, Tensor]:
    """(cond, uncond), the shorter lengthened by whole encodings of the empty prompt, (T, D).

    Source: A1111 modules/sd_samplers_cfg_denoiser.py, pad_cond_uncond.
    """
    repeats = int((cond.shape[1] - uncond.shape[1]) / empty.shape[0])
    filler = empty.to(cond).repeat(abs(repeats), 1)
    if repeats < 0:
        cond = torch.cat([cond, filler.expand(cond.shape[0], -1, -1)], dim=1)
    elif repeats > 0:
        uncond = torch.cat([uncond, filler.expand(uncond.shape[0], -1, -1)], dim=1)
    return cond, uncond


def fit_uncond(cond: Tensor, uncond: Tensor) -> Tensor:
    """`uncond` cut, or its last vector repeated, to the length of `cond`.

    Source: A1111 modules/sd_samplers_cfg_denoiser.py, pad_cond_uncond_v0.
    """
    missing = cond.shape[1] - uncond.shape[1]
    if missing > 0:
        return torch.cat([uncond, uncond[:, -1:].expand(-1, missing, -1)], dim=1)
    return uncond[:, : cond.shape[1]]


def combine(estimates: Tensor, parts: list[list[tuple[int, float]]], uncond: Tensor, scale: float) -> Tensor:
    """u + Σ (c - u)·weight·scale per image; weights are not normalised.

    Source: Ho & Salimans 2022, eq. 6; Liu et al. 2022 "Compositional Visual Generation", eq. 11.
    """
    combined = uncond.clone()
    for image, image_parts in enumerate(parts):
        for row, weight in image_parts:
            combined[image] += (estimates[row] - uncond[image]) * (weight * scale)
    return combined


def rescale_guidance(guided: Tensor, cond: Tensor, share: float) -> Tensor:
    """`guided` moved by `share` towards the standard deviation of `cond`, per image. Source: Lin 2023, eq. 15, 16."""
    axes = tuple(range(1, guided.ndim))
    matched = guided * (cond.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True))
    return share * matched + (1 - share) * guided


@dataclass(frozen=True, kw_only=True)
class GuidedCall:
    """The pieces of one guided call.

    Attributes:
        x: Input of the call, (B, C, h, w).
        cond: First part of each image's prompt.
        uncond: Negative prompt; `cond` where it was left out.
        guided: The combination.
    """

    x: Tensor
    cond: Tensor
    uncond: Tensor
    guided: Tensor


class GuidedDenoiser:
    """A `Denoise` that asks the network for every part of the prompts and combines the answers.

    Args:
        predict: How the network is asked; decides whether the result is x0 or eps.
        image_conditioning: (B, c, h, w) for inpainting and edit models, else None.
        empty_prompt: (T, D), needed by `pad_cond_uncond`.
        calls: Evaluations expected in this pass, for shares of it.
        first_call: Counter of the first call, when another denoiser made the earlier ones.

    Attributes:
        call: Evaluations made; drives prompt schedules.
        scale_factor: Multiplies the guidance scale (DDIM CFG++ uses 1/12.5).
        last: Pieces of the latest call.
        infotext: Entries A1111 writes from here, in its order.

    Source: A1111 modules/sd_samplers_cfg_denoiser.py, CFGDenoiser.forward.
    """

    def __init__(
        self,
        predict: Predictor,
        conditioning: BatchConditioning,
        options: GuidanceOptions,
        *,
        calls: int,
        image_conditioning: Tensor | None = None,
        is_edit: bool = False,
        empty_prompt: Tensor | None = None,
        first_call: int = 0,
    ) -> None:
        self.predict = predict
        self.call = first_call
        self.calls = calls
        self.scale_factor = 1.0
        self.last: GuidedCall | None = None
        self.infotext: dict[str, InfotextValue] = {}
        self.pad_infotext: dict[str, InfotextValue] = {}
        self._conditioning = conditioning
        self._options = options
        self._image_conditioning = image_conditioning
        self._empty_prompt = empty_prompt
        self._is_edit = is_edit and options.image_cfg_scale not in (None, 1.0)

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        """The guided estimate for `x` (B, C, h, w) at `sigma` (B,).

        Raises:
            InvalidRequest: If an edit model gets a prompt composed with AND.
        """
        parts, cond = cond_at_call(self._conditioning, self.call)
        uncond = uncond_at_call(self._conditioning, self.call)
        if self._is_edit and any(len(image) != 1 for image in parts):
            raise InvalidRequest("AND in a prompt needs Image CFG Scale 1 with an edit (InstructPix2Pix) model.")
        skip = self._skips_uncond(float(sigma[0]))
        cond, uncond = self._fit(cond, uncond)
        images = [image for image, image_parts in enumerate(parts) for _ in image_parts]
        estimates = self._estimate(x, sigma, images, cond, None if skip else uncond)

        count = len(parts)
        first = torch.stack([estimates[image_parts[0][0]] for image_parts in parts])
        if skip:
            negative, guided = first, combine(estimates, parts, first, 1.0)
        elif self._is_edit:
            negative = estimates[-count:]
            guided = self._combine_edit(first, estimates[count : 2 * count], negative)
        else:
            negative = estimates[-count:]
            guided = combine(estimates, parts, negative, self._options.cfg_scale * self.scale_factor)
        if self._options.rescale:
            guided = rescale_guidance(guided, first, self._options.rescale)
        self.last = GuidedCall(x=x, cond=first, uncond=negative, guided=guided)
        self.call += 1
        return guided

    def _combine_edit(self, cond: Tensor, image_cond: Tensor, uncond: Tensor) -> Tensor:
        """Brooks et al. 2022 "InstructPix2Pix", eq. 3."""
        options = self._options
        scale = options.cfg_scale * self.scale_factor
        return uncond + scale * (cond - image_cond) + (options.image_cfg_scale or 1.0) * (image_cond - uncond)

    def _skips_uncond(self, sigma: float) -> bool:
        options = self._options
        if options.skip_early_cond and self.call / self.calls <= options.skip_early_cond:
            self.infotext["Skip Early CFG"] = options.skip_early_cond
            return True
        due = self.call % 2 == 1 or options.s_min_uncond_all
        if not due or options.s_min_uncond <= 0 or sigma >= options.s_min_uncond or self._is_edit:
            return False
        self.infotext["NGMS"] = options.s_min_uncond
        if options.s_min_uncond_all:
            self.infotext["NGMS all steps"] = True
        return True

    def _fit(self, cond: Conditioning, uncond: Conditioning) -> tuple[Conditioning, Conditioning]:
        """Both with the lengths the padding options ask for; what the latest call did is noted for the infotext."""
        options = self._options
        positive, negative = cond.cross_attention, uncond.cross_attention
        self.pad_infotext = {}
        if positive.shape[1] == negative.shape[1]:
            return cond, uncond
        if options.pad_cond_uncond_v0:
            negative = fit_uncond(positive, negative)
            self.pad_infotext["Pad conds v0"] = True
        elif options.pad_cond_uncond and self._empty_prompt is not None:
            fitted = pad_with_empty(positive, negative, self._empty_prompt)
            if fitted[0] is not positive or fitted[1] is not negative:
                self.pad_infotext["Pad conds"] = True
            positive, negative = fitted
        return replace(cond, cross_attention=positive), replace(uncond, cross_attention=negative)

    def _estimate(
        self, x: Tensor, sigma: Tensor, images: list[int], cond: Conditioning, uncond: Conditioning | None
    ) -> Tensor:
        """Estimates of all rows: the parts of every image's prompt, then the negatives (edit models: twice)."""
        blocks = [self._rows(images, cond, is_uncond=False)]
        everyone = list(range(x.shape[0]))
        if uncond is not None:
            blocks += [self._rows(everyone, uncond, is_uncond=True)] * (2 if self._is_edit else 1)
        rows = [row for block in blocks for row in block.images]
        picture = self._image_rows(images, everyone, has_uncond=uncond is not None)
        size = x.shape[0]
        same_length = len({block.cross_attention.shape[1] for block in blocks}) == 1
        if same_length:
            blocks = [_joined(blocks)]
            step = len(rows) if self._options.batch_cond_uncond else size
        else:
            step = 2 * size if self._options.batch_cond_uncond else size
        answers: list[Tensor] = []
        offset = 0
        for block in blocks:
            # Negatives of another length are one call, prompts of another length go in slices, as in A1111.
            width = step if not all(block.is_uncond) else len(block.images)
            for start in range(0, len(block.images), width):
                part = _sliced(block, start, start + width)
                span = slice(offset + start, offset + start + len(part.images))
                answers.append(
                    self.predict(x[rows[span]], sigma[rows[span]], part, None if picture is None else picture[span])
                )
            offset += len(block.images)
        return torch.cat(answers)

    def _rows(self, images: list[int], conditioning: Conditioning, *, is_uncond: bool) -> ConditioningBatch:
        return ConditioningBatch(
            cross_attention=conditioning.cross_attention,
            pooled=conditioning.pooled,
            time_ids=conditioning.time_ids,
            images=tuple(images),
            is_uncond=(is_uncond,) * len(images),
            call=self.call,
            calls=self.calls,
        )

    def _image_rows(self, images: list[int], everyone: list[int], *, has_uncond: bool) -> Tensor | None:
        """Image conditioning of every row; the last negatives of an edit model see an empty picture."""
        picture = self._image_conditioning
        if picture is None:
            return None
        blocks = [picture[images]]
        if has_uncond:
            blocks.append(picture[everyone])
        if has_uncond and self._is_edit:
            blocks.append(torch.zeros_like(picture))
        return torch.cat(blocks)


def _joined(blocks: Sequence[ConditioningBatch]) -> ConditioningBatch:
    def together(values: Sequence[Tensor | None]) -> Tensor | None:
        present = [value for value in values if value is not None]
        return torch.cat(present) if len(present) == len(values) else None

    return replace(
        blocks[0],
        cross_attention=torch.cat([block.cross_attention for block in blocks]),
        pooled=together([block.pooled for block in blocks]),
        time_ids=together([block.time_ids for block in blocks]),
        images=tuple(image for block in blocks for image in block.images),
        is_uncond=tuple(flag for block in blocks for flag in block.is_uncond),
    )


def _sliced(block: ConditioningBatch, start: int, stop: int) -> ConditioningBatch:
    return replace(
        block,
        cross_attention=block.cross_attention[start:stop],
        pooled=None if block.pooled is None else block.pooled[start:stop],
        time_ids=None if block.time_ids is None else block.time_ids[start:stop],
        images=block.images[start:stop],
        is_uncond=block.is_uncond[start:stop],
    )
