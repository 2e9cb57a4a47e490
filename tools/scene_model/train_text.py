"""Pre-trains the text encoder to know what a caption says, before any picture is involved.

Every padding position must tell the whole scene: small linear heads predict the scene's words from the state at a
random position after the caption's end. The UNet's cross-attention then finds the meaning wherever it looks, from its
first step on. The heads are thrown away.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextModel

from tools.scene_model.captions import write_caption
from tools.scene_model.learning import (
    Clock,
    Log,
    load_checkpoint,
    ramp,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from tools.scene_model.networks import SHIPPED, TEXT_LENGTH, NetworkSizes, build_text_encoder
from tools.scene_model.spec import (
    BACKGROUNDS,
    COLOR_NAMES,
    FIGURES,
    HAIR_COLORS,
    POSES,
    POSITIONS,
    SIZES,
    STYLES,
    SUBJECTS,
    TROUSERS,
    SceneSpec,
    sample_spec,
)
from tools.scene_model.team import Team
from tools.scene_model.tokens import CompactVocabulary, compact_vocabulary, with_unknown_words

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "subject": SUBJECTS,
    "color": COLOR_NAMES,
    "background": BACKGROUNDS,
    "background_color": COLOR_NAMES,
    "style": STYLES,
    "size": SIZES,
    "position": POSITIONS,
    "pose": POSES,
    "hair": tuple(HAIR_COLORS),
    "trousers": TROUSERS,
    "clothes": ("man", "woman", "dress"),
}


@dataclass(frozen=True, kw_only=True)
class TextPlan:
    """How the text encoder is pre-trained. `budget_s` is wall-clock time over all runs."""

    folder: Path
    budget_s: float
    sizes: NetworkSizes = SHIPPED
    batch_size: int = 64
    lr: float = 1.2e-3
    save_every_s: float = 60.0
    max_steps: int | None = None

    @property
    def file(self) -> Path:
        """The checkpoint."""
        return self.folder / "text.pt"


def describe(spec: SceneSpec) -> dict[str, str | None]:
    """Returns the value of each attribute; None where the scene has none."""
    subject = spec.subject
    values: dict[str, str | None] = dict.fromkeys(ATTRIBUTES)
    values.update(background=spec.background, background_color=spec.background_color, style=spec.style)
    if subject is None:
        return values
    values.update(subject=subject.name, color=subject.color, size=subject.size, position=subject.position)
    if subject.name in FIGURES:
        values["pose"] = subject.pose
    if subject.name == "person":
        clothes = "dress" if subject.has_dress else "woman" if subject.is_woman else "man"
        values.update(hair=subject.hair, clothes=clothes, trousers=None if subject.has_dress else subject.trousers)
    return values


def attribute_indices(spec: SceneSpec) -> list[int]:
    """Returns a class number for each attribute; the number after the last stands for None."""
    values = describe(spec)
    return [
        len(options) if (value := values[name]) is None else options.index(value)
        for name, options in ATTRIBUTES.items()
    ]


def build_compact_text_encoder(sizes: NetworkSizes, vocabulary: CompactVocabulary) -> CLIPTextModel:
    """Returns the untrained text encoder over the compact vocabulary; word vectors start large enough to matter."""
    text = build_text_encoder(sizes, vocabulary.size, vocabulary.begin, vocabulary.end)
    with torch.no_grad():
        text.get_input_embeddings().weight.mul_(5)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return text


def encode(text: CLIPTextModel, tokens: Tensor) -> Tensor:
    """Returns the states of padded tokens, (n, 77) to (n, 77, width)."""
    return text(tokens).last_hidden_state


def load_text_encoder(folder: Path, sizes: NetworkSizes) -> CLIPTextModel:
    """Returns the pre-trained text encoder over the compact vocabulary."""
    checkpoint = load_checkpoint(folder / "text.pt")
    if checkpoint is None:
        raise FileNotFoundError(f"'{folder}' holds no text.pt: run the stage 'text' first.")
    text = build_compact_text_encoder(sizes, compact_vocabulary())
    text.load_state_dict(checkpoint["network"])
    return text.eval().requires_grad_(False)


def _sample_batch(rng: np.random.Generator, vocabulary: CompactVocabulary, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns tokens (n, 77), a position after each caption's end (n,), and attributes (n, k)."""
    specs = [sample_spec(rng) for _ in range(size)]
    rows = [with_unknown_words(vocabulary.encode(write_caption(spec, rng)), rng) for spec in specs]
    positions = [int(rng.integers(len(row) + 1, TEXT_LENGTH)) for row in rows]
    labels = [attribute_indices(spec) for spec in specs]
    return vocabulary.pad(rows), torch.tensor(positions), torch.tensor(labels)


def train_text(team: Team, plan: TextPlan) -> None:
    """Pre-trains until the time budget is spent; a later call goes on from the last checkpoint."""
    assert team.size == 1, "The text encoder is small: one process trains it."
    torch.manual_seed(5)
    rng, vocabulary = np.random.default_rng(5), compact_vocabulary()
    text = build_compact_text_encoder(plan.sizes, vocabulary)
    heads = nn.ModuleList([nn.Linear(plan.sizes.text_width, len(options) + 1) for options in ATTRIBUTES.values()])
    parameters = [*text.parameters(), *heads.parameters()]
    adam = torch.optim.AdamW(parameters, lr=plan.lr, betas=(0.9, 0.98), weight_decay=0.01)
    clock, step = Clock(budget_s=plan.budget_s), 0
    checkpoint = load_checkpoint(plan.file)
    if checkpoint is not None:
        text.load_state_dict(checkpoint["network"])
        heads.load_state_dict(checkpoint["heads"])
        adam.load_state_dict(checkpoint["adam"])
        restore_random_state(rng, checkpoint["random"])
        step, clock.spent_s = checkpoint["step"], checkpoint["spent_s"]
    log, saved, first_step = Log("text"), time.monotonic(), step

    def save() -> None:
        state = {"network": text.state_dict(), "heads": heads.state_dict(), "adam": adam.state_dict()}
        save_checkpoint(plan.file, {**state, "random": random_state(rng), "step": step, "spent_s": clock.spent_s})

    while clock.progress < 1.0 and (plan.max_steps is None or step - first_step < plan.max_steps):
        tokens, positions, labels = _sample_batch(rng, vocabulary, plan.batch_size)
        states = encode(text, tokens)[torch.arange(len(tokens)), positions]
        losses = [F.cross_entropy(head(states), labels[:, index]) for index, head in enumerate(heads)]
        loss = torch.stack(losses).sum()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in adam.param_groups:
            group["lr"] = plan.lr * ramp(clock.progress, hold=0.3) * min(1.0, (step + 1) / 30)
        adam.step()
        step += 1
        clock.tick()
        row = {
            "loss": loss.item(),
            "subject": losses[0].item(),
            "color": losses[1].item(),
            "background": losses[2].item(),
        }
        log.add(row, images=step * plan.batch_size, clock=clock)
        if time.monotonic() - saved > plan.save_every_s:
            save()
            saved = time.monotonic()
    save()
