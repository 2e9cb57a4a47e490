"""Prompts of a batch in, what the UNet is told at every step out."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipelines.checkpoints.model import Family, LoadedModel
from pipelines.conditioning.cache import ConditioningCache
from pipelines.conditioning.chunks import ChunkedPrompt, SpecialTokens, empty_chunk
from pipelines.conditioning.embeddings import EmbeddingIndex
from pipelines.conditioning.emphasis import apply_emphasis
from pipelines.conditioning.infotext import describe_call, merged, old_timelines
from pipelines.conditioning.options import EncodeOptions
from pipelines.conditioning.prompt_schedule import StepCounts, prompt_schedule
from pipelines.conditioning.prompts import split_and
from pipelines.conditioning.text_encoders import run_text_encoder, text_layer
from pipelines.conditioning.tokens import cut_prompt
from pipelines.conditioning.types import (
    BatchConditioning,
    Conditioning,
    PromptSchedule,
    ScheduledConditioning,
    WeightedPart,
)

_SDXL = (Family.SDXL, Family.SDXL_REFINER)


@dataclass(frozen=True, kw_only=True)
class EncodedPrompts:
    """Conditioning of a batch, and what infotext says about it.

    Attributes:
        infotext: Those of "Old prompt editing timelines", "TI hashes" and "Emphasis" that apply, in this order.
    """

    batch: BatchConditioning
    infotext: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class EncodedSchedule:
    """One prompt over a pass, as the cache keeps it."""

    schedule: PromptSchedule
    infotext: dict[str, str]


PromptCache = ConditioningCache[EncodedSchedule]


def encode_prompts(
    model: LoadedModel,
    prompts: Sequence[str],
    negative_prompts: Sequence[str],
    *,
    width: int,
    height: int,
    counts: StepCounts,
    options: EncodeOptions | None = None,
    embeddings: EmbeddingIndex | None = None,
    cache: PromptCache | None = None,
    weights_key: Hashable = None,
) -> EncodedPrompts:
    """The conditioning of a batch, float32 on the model's device.

    Args:
        prompts: One per image, without `<lora:…>` tags and with styles applied.
        negative_prompts: One per image.
        width: Of the pass, in pixels; SDXL is told it.
        height: Of the pass, in pixels.
        counts: Denoiser calls expected: twice the steps for second-order samplers.
        embeddings: Those the model can use.
        cache: Keeps encodings between calls; without one, equal prompts of the batch are still encoded once.
        weights_key: Changes whenever the text encoders' weights do: the LoRAs in force.

    Raises:
        PromptError: If a prompt has a malformed weight or an embedding that does not fit.

    Source: A1111 modules/processing.py, setup_conds; modules/prompt_parser.py, get_learned_conditioning.
    """
    assert len(prompts) == len(negative_prompts), (len(prompts), len(negative_prompts))
    encoder = _PromptEncoder(
        model=model,
        size=(height, width),
        counts=counts,
        options=options or EncodeOptions(),
        embeddings=embeddings or EmbeddingIndex(),
        cache=cache or PromptCache(),
        weights_key=weights_key,
    )
    uncond = tuple(encoder.schedule(text, is_negative=True) for text in negative_prompts)
    cond = tuple(
        tuple(
            WeightedPart(schedule=encoder.schedule(part.text, is_negative=False), weight=part.weight)
            for part in split_and(prompt)
        )
        for prompt in prompts
    )
    timelines = old_timelines([*negative_prompts, *prompts], counts)
    return EncodedPrompts(batch=BatchConditioning(cond=cond, uncond=uncond), infotext=timelines | encoder.infotext)


@dataclass(kw_only=True)
class _PromptEncoder:
    """Encodes the prompts of one batch; each distinct text once, and not at all if the cache has it."""

    model: LoadedModel
    size: tuple[int, int]
    counts: StepCounts
    options: EncodeOptions
    embeddings: EmbeddingIndex
    cache: PromptCache
    weights_key: Hashable
    infotext: dict[str, str] = field(default_factory=dict[str, str])
    _done: dict[tuple[str, bool], PromptSchedule] = field(default_factory=dict[tuple[str, bool], PromptSchedule])

    def schedule(self, prompt: str, *, is_negative: bool) -> PromptSchedule:
        """The conditioning of one prompt over the pass."""
        if (prompt, is_negative) not in self._done:
            key = (
                prompt,
                is_negative,
                self.counts,
                self.options,
                self.size if self.model.family in _SDXL else None,
                self.embeddings.content_key,
                self.weights_key,
            )
            encoded = self.cache.get(
                self.model.text_encoders[0], key, lambda: self._encode(prompt, is_negative=is_negative)
            )
            self.infotext = merged(self.infotext, encoded.infotext)
            self._done[prompt, is_negative] = encoded.schedule
        return self._done[prompt, is_negative]

    def _encode(self, prompt: str, *, is_negative: bool) -> EncodedSchedule:
        """All texts of the schedule in one batch, because "Original" emphasis looks at the mean over all of them."""
        entries = prompt_schedule(prompt, self.counts)
        texts = [text for _, text in entries]
        chunked = [cut_prompt(text, self.model.tokenizers[0], self.embeddings, self.options) for text in texts]
        infotext: dict[str, str] = {}
        features: list[Tensor] = []
        pooled: Tensor | None = None
        for number in range(len(self.model.text_encoders)):
            encoded, pooled = self._run(number, chunked)
            features.append(encoded)
            infotext = merged(infotext, describe_call(texts, chunked, self.options))
        cross_attention = torch.cat(features, dim=-1).to(self.model.device)
        pooled = pooled.to(self.model.device) if pooled is not None and self.model.family in _SDXL else None
        if self.model.family in _SDXL and is_negative and not any(texts):
            # SDXL was trained with zeros in place of dropped prompts, not with the encoding of an empty text.
            cross_attention = torch.zeros_like(cross_attention)
            pooled = torch.zeros_like(pooled) if pooled is not None else None
        time_ids = self._time_ids(is_negative=is_negative)
        schedule = tuple(
            ScheduledConditioning(
                until=until,
                conditioning=Conditioning(
                    cross_attention=cross_attention[row],
                    pooled=None if pooled is None else pooled[row],
                    time_ids=time_ids,
                ),
            )
            for row, (until, _) in enumerate(entries)
        )
        return EncodedSchedule(schedule=schedule, infotext=infotext)

    def _run(self, number: int, prompts: Sequence[ChunkedPrompt]) -> tuple[Tensor, Tensor | None]:
        """Features (B, 77·n, D) of one text encoder, and the pooled vectors of the first chunks."""
        encoder = self.model.text_encoders[number]
        pad = self.model.tokenizers[number].pad_token_id
        assert isinstance(pad, int), "a tokenizer without padding token"
        layer = text_layer(
            self.model.family,
            number,
            clip_skip=self.options.clip_skip,
            sdxl_clip_l_skip=self.options.sdxl_clip_l_skip,
        )
        filler = empty_chunk(SpecialTokens())
        parts: list[Tensor] = []
        pooled: Tensor | None = None
        for index in range(max(len(prompt.chunks) for prompt in prompts)):
            chunks = [prompt.chunks[index] if index < len(prompt.chunks) else filler for prompt in prompts]
            # Texts of an alternation repeat; each is run once and counted as often as it occurs.
            distinct = {(chunk.tokens, chunk.insertions): chunk for chunk in chunks}
            places = {key: place for place, key in enumerate(distinct)}
            rows = [places[chunk.tokens, chunk.insertions] for chunk in chunks]
            features, vectors = run_text_encoder(encoder, list(distinct.values()), layer, pad=pad, encoder_index=number)
            weights = torch.tensor([chunk.weights for chunk in chunks], device=features.device)
            parts.append(apply_emphasis(self.options.emphasis, features[rows], weights))
            if index == 0 and vectors is not None:
                pooled = vectors[rows]
        return torch.cat(parts, dim=1), pooled

    def _time_ids(self, *, is_negative: bool) -> Tensor | None:
        """SDXL's numbers: original size, crop, target size; the refiner's end with the aesthetic score.

        Source: A1111 modules/sd_models_xl.py, get_learned_conditioning.
        """
        if self.model.family not in _SDXL:
            return None
        if self.model.family is Family.SDXL_REFINER:
            values = (*self.size, *self.options.crop, self.options.aesthetic_scores[is_negative])
        else:
            values = (*self.size, *self.options.crop, *self.size)
        return torch.tensor(values, dtype=torch.float32, device=self.model.device)
