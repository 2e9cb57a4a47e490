"""The settings that decide how a prompt is encoded, as values."""

from dataclasses import dataclass

from pipelines.conditioning.emphasis import Emphasis


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """Settings that change how prompts are encoded.

    Attributes:
        clip_skip: 1 reads the last layer, 2 the one before, …
        emphasis: A value of `Emphasis`; other names act like "Original".
        comma_backtrack: How many tokens to look back for a comma when a chunk is full; 0 to cut anywhere.
        old_emphasis: Brackets as A1111's first versions read them, and one chunk only.
        sdxl_clip_l_skip: Clip skip also for SDXL's CLIP-L.
        crop: SDXL's crop conditioning, (top, left) in pixels.
        aesthetic_scores: The SDXL refiner's, for prompts and for negative prompts.
        ti_hashes: Whether infotext names the embeddings used.
    """

    clip_skip: int = 1
    emphasis: str = Emphasis.ORIGINAL
    comma_backtrack: int = 20
    old_emphasis: bool = False
    sdxl_clip_l_skip: bool = False
    crop: tuple[int, int] = (0, 0)
    aesthetic_scores: tuple[float, float] = (6.0, 2.5)
    ti_hashes: bool = True
