"""What we answer: pictures with their records, and how far a job is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from PIL import Image


@dataclass(frozen=True, kw_only=True)
class GeneratedImage:
    """One finished picture.

    Attributes:
        path: Where it was saved, or None when it was not.
        is_grid: Whether it is a contact sheet of the others.
    """

    image: Image.Image
    infotext: str
    seed: int
    subseed: int
    prompt: str
    negative_prompt: str
    path: Path | None = None
    is_grid: bool = False


@dataclass(frozen=True, kw_only=True)
class GenerationResult:
    """What a job delivers; JSON and gallery are views of it.

    Attributes:
        images: Grids first, then the pictures in order.
        info: A1111's `info` object (all_seeds, infotexts, index_of_first_image, …), JSON-ready.
        notes: What the user should know: substitutions, missing networks, fallbacks, pictures not saved.
        interrupted: Whether the job was stopped before its end.
    """

    images: tuple[GeneratedImage, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    interrupted: bool = False


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A snapshot of a job.

    Attributes:
        fraction: 0 to 1 over the whole job.
        eta_s: Seconds left, or None while unknown.
        job_no, job_count: Sampling runs done and in all (hires counts twice).
        step, steps: Of the current sampling run.
        queue_position: Jobs before this one; 0 when running.
        text: What is going on in words ("Loading mini", "Sampling").
        preview: Live preview, or None.
        preview_id: Grows with every new preview.
        images: Pictures finished so far.
    """

    state: JobState
    fraction: float = 0.0
    eta_s: float | None = None
    job_no: int = 0
    job_count: int = 0
    step: int = 0
    steps: int = 0
    queue_position: int = 0
    text: str = ""
    preview: Image.Image | None = None
    preview_id: int = 0
    images: tuple[GeneratedImage, ...] = ()
