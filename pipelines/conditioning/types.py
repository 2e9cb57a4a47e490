"""What the UNet is told about a prompt, and when: the values conditioning makes and sampling uses."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """One text as the UNet reads it.

    Attributes:
        cross_attention: (77·n, D) float32, n chunks; D is 768 (SD1), 1024 (SD2), 2048 (SDXL), 1280 (refiner).
        pooled: (P,) float32 pooled text vector for SDXL, None for the other families.
        time_ids: (6,) float32 sizes and crop for SDXL base, (5,) for the refiner, None for the other families.
    """

    cross_attention: Tensor
    pooled: Tensor | None = None
    time_ids: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class ScheduledConditioning:
    """One entry of a prompt schedule.

    Attributes:
        until: Last step (1-based) the entry is written for. A1111 compares it with a 0-based call counter:
            at call k the first entry with `until >= k` is used, and entry 0 when none is.
    """

    until: int
    conditioning: Conditioning


PromptSchedule = tuple[ScheduledConditioning, ...]


@dataclass(frozen=True, kw_only=True)
class WeightedPart:
    """One part of a prompt composed with AND."""

    schedule: PromptSchedule
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class BatchConditioning:
    """Positive and negative conditioning of the images of one batch.

    Attributes:
        cond: Per image, its AND parts (at least one).
        uncond: Per image, the negative prompt's schedule.
    """

    cond: tuple[tuple[WeightedPart, ...], ...]
    uncond: tuple[PromptSchedule, ...]


def at_call(schedule: PromptSchedule, call: int) -> Conditioning:
    """The conditioning in force at 0-based denoiser call `call`.

    Source: A1111 modules/prompt_parser.py, reconstruct_cond_batch.
    """
    for entry in schedule:
        if entry.until >= call:
            return entry.conditioning
    return schedule[0].conditioning
