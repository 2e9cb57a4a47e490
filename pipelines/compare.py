"""A picture and the same one made again: how far apart they are, and what explains it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipelines.named_models import NamedModel, Presence
from schema.infotext import ParsedInfotext
from schema.version import INFOTEXT_VERSION

TARGET = 224
"""Brightness to which the largest difference is amplified."""

SOURCE_KEYS = ("Init image hash", "Mask blur", "Mask mode", "Masked content", "Inpaint area", "Soft inpainting enabled")
"""Keys that only pictures made from another picture have."""

SCRIPT_KEYS = ("Script", "X Type", "Y Type", "Z Type", "SD upscale overlap", "Loopback")
CHANGED_AFTERWARDS = ("Postprocess upscaler", "Postprocess upscale by", "GFPGAN visibility", "CodeFormer visibility")
HARMLESS = frozenset({"Version", "User", "Model", "VAE", "Hashes", "Lora hashes", "TI hashes", "Schedule type"})
"""Keys whose differences say nothing, or are explained by the models."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far two pictures of one size are apart.

    Attributes:
        largest: Largest difference of a channel, 0 to 255.
        psnr: In decibels; infinite for equal pictures.
        changed: Share of pixels that differ, 0 to 1.
        picture: The difference, amplified so that the largest is bright.
        amplified: How much.
    """

    largest: int
    psnr: float
    changed: float
    picture: Image.Image
    amplified: float

    @property
    def is_identical(self) -> bool:
        """Whether every pixel is the same."""
        return self.largest == 0


def difference(one: Image.Image, other: Image.Image) -> Difference | None:
    """How far two pictures are apart; None where their sizes differ.

    PSNR = 10 log10(255² / MSE), over red, green and blue.
    """
    if one.size != other.size:
        return None
    first, second = (np.asarray(each.convert("RGB"), dtype=np.int16) for each in (one, other))
    apart = np.abs(first - second)
    largest, mse = int(apart.max(initial=0)), float(np.mean(np.square(apart.astype(np.float64))))
    amplified = max(1.0, TARGET / largest) if largest else 1.0
    return Difference(
        largest=largest,
        psnr=10 * math.log10(255**2 / mse) if mse else math.inf,
        changed=float(np.mean(apart.max(axis=-1) > 0)),
        picture=Image.fromarray(np.clip(apart * amplified, 0, 255).astype(np.uint8)),
        amplified=amplified,
    )


def cannot_be_repeated(parsed: ParsedInfotext) -> str | None:
    """Why a record is not enough to make its picture again, in words; None where it may be."""
    written = parsed.written
    if any(key in written for key in SOURCE_KEYS) or ("Denoising strength" in written and not _has_hires(written)):
        return (
            "This picture was made from another picture, which its record does not hold. "
            "Send the record to img2img or inpaint and add that picture there."
        )
    if script := next((key for key in SCRIPT_KEYS if key in written), None):
        return f"This picture was made by a script ({script}: {parsed.get(script)}), which is not run again here."
    if "Seed" not in written:
        return "The record names no seed, so the picture cannot be made again."
    return None


def _has_hires(written: frozenset[str]) -> bool:
    return bool(written & {"Hires upscale", "Hires upscaler", "Hires resize-1", "Hires steps"})


def explain(
    before: ParsedInfotext,
    after: ParsedInfotext,
    *,
    models: Sequence[NamedModel],
    unused: Sequence[str] = (),
    device: str = "",
) -> list[str]:
    """What may have made a picture differ from the one with the record `before`, the surest reasons first.

    Args:
        after: The record of the picture made again.
        models: What `before` names.
        unused: Keys of `before` that set nothing here.
        device: What it was made again on, such as "cpu".
    """
    reasons = [*_models(models), *_fields(before, after)]
    reasons += [f"“{key}: {before.get(key)}” means nothing here, so it was not repeated." for key in unused]
    for key in CHANGED_AFTERWARDS:
        if key in before.written:
            reasons.append(f"The picture was changed afterwards ({key}: {before.get(key)}).")
            break
    is_ours = before.get("Version") == INFOTEXT_VERSION
    if not is_ours and "cuda" not in device and "RNG" not in before.written:
        reasons.append("If a GPU drew the noise, as is usual, set RNG to NV: it draws the noise of an NVIDIA GPU.")
    reasons += _origin(before, device)
    return list(dict.fromkeys(reasons))


def _models(models: Sequence[NamedModel]) -> Iterator[str]:
    for model in models:
        label = f"{model.kind} “{model.name or model.hash}”"
        if model.presence is Presence.MISSING:
            yield f"{label} is missing."
        elif model.presence is Presence.SAME_NAME:
            yield f"{label} is not the same file as here: the hashes differ."


def _fields(before: ParsedInfotext, after: ParsedInfotext) -> Iterator[str]:
    for key in sorted((before.written | after.written) - HARMLESS):
        then, now = before.get(key), after.get(key)
        if key in before.written and key not in after.written and key not in after.fields:
            continue
        if key.startswith("Postprocess ") or str(then) == str(now) or _same_number(then, now):
            continue
        yield f"{key}: {_shown(then)} in the record, {_shown(now)} here."


def _same_number(one: object, other: object) -> bool:
    try:
        return float(str(one)) == float(str(other))
    except ValueError:
        return False


def _shown(value: object) -> str:
    return "nothing" if value in (None, "") else str(value)


def _origin(before: ParsedInfotext, device: str) -> Iterator[str]:
    version = str(before.get("Version") or "")
    if not version:
        yield "The record does not say which program made the picture; others round and weight prompts differently."
    elif version != INFOTEXT_VERSION:
        yield f"Made by version “{version}”; here it is “{INFOTEXT_VERSION}”, which may round differently."
    where = f" here it was {device}" if device else ""
    yield (
        "Records say nothing of device, number format and attention:"
        f"{where or ' they'}, and another one gives a slightly different picture."
    )
