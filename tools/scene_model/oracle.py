"""A small classifier, trained on renders, that tells what a picture shows; the evaluation's judge."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tools.scene_model.learning import Clock, Log, load_checkpoint, ramp, save_checkpoint
from tools.scene_model.render import random_scene
from tools.scene_model.spec import BACKGROUNDS, COLOR_NAMES, STYLES, SUBJECTS, SceneSpec
from tools.scene_model.team import Team
from tools.scene_model.train_vae import to_tensor

HEADS: dict[str, tuple[str, ...]] = {
    "subject": SUBJECTS,
    "color": COLOR_NAMES,
    "background": BACKGROUNDS,
    "style": STYLES,
}
_IGNORED = -100


class Oracle(nn.Module):
    """A convolutional network on pictures at half size, with one linear head for each of `HEADS`."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.AvgPool2d(2)]
        width = 3
        for wider in (24, 48, 96, 128):
            stride = 2
            layers += [nn.Conv2d(width, wider, 3, stride, 1), nn.BatchNorm2d(wider), nn.ReLU()]
            width = wider
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(width * 16, 192), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(192, len(options)) for name, options in HEADS.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Returns a score for each option of each head; `images` are (n, 3, 128, 128), float in [-1, 1]."""
        features = self.body(images)
        return {name: head(features) for name, head in self.heads.items()}


@dataclass(frozen=True, kw_only=True)
class OraclePlan:
    """How the oracle is trained. `budget_s` is wall-clock time over all runs."""

    folder: Path
    budget_s: float
    batch_size: int = 64
    lr: float = 2e-3
    max_steps: int | None = None

    @property
    def file(self) -> Path:
        """The checkpoint."""
        return self.folder / "oracle.pt"


def labels_of(spec: SceneSpec) -> dict[str, int]:
    """Returns the right answer of each head; -100, which the loss ignores, where there is none."""
    subject = spec.subject
    return {
        "subject": SUBJECTS.index(subject.name) if subject else _IGNORED,
        "color": COLOR_NAMES.index(subject.color) if subject else _IGNORED,
        "background": BACKGROUNDS.index(spec.background),
        "style": STYLES.index(spec.style),
    }


def _disturb(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Blurs and adds noise at random, so that the oracle judges shapes and not the renderer's crisp edges."""
    factor = int(rng.integers(1, 5))
    if factor > 1:
        small = F.interpolate(images, scale_factor=1 / factor, mode="area")
        images = F.interpolate(small, size=images.shape[-2:], mode="bilinear")
    return images + torch.randn_like(images) * rng.uniform(0, 0.12)


def train_oracle(team: Team, plan: OraclePlan) -> None:
    """Trains until the time budget is spent; a later call goes on from the last checkpoint."""
    assert team.size == 1, "The oracle is small: one process trains it."
    torch.manual_seed(3)
    oracle = Oracle().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    adam = torch.optim.AdamW(oracle.parameters(), lr=plan.lr, weight_decay=0.01)
    clock, step = Clock(budget_s=plan.budget_s), 0
    checkpoint = load_checkpoint(plan.file)
    if checkpoint is not None:
        oracle.load_state_dict(checkpoint["network"])
        adam.load_state_dict(checkpoint["adam"])
        step, clock.spent_s = checkpoint["step"], checkpoint["spent_s"]
    rng = np.random.default_rng([21, step])
    log, saved, first_step = Log("oracle"), time.monotonic(), step

    def save() -> None:
        state = {"network": oracle.state_dict(), "adam": adam.state_dict(), "step": step, "spent_s": clock.spent_s}
        save_checkpoint(plan.file, state)

    while clock.progress < 1.0 and (plan.max_steps is None or step - first_step < plan.max_steps):
        scenes = [random_scene(int(rng.integers(2**41, 2**42)), allow_held_out=True) for _ in range(plan.batch_size)]
        answers = [labels_of(scene.spec) for scene in scenes]
        scores = oracle(_disturb(to_tensor(np.stack([scene.image for scene in scenes])), rng))
        targets = {name: torch.tensor([answer[name] for answer in answers]) for name in HEADS}
        losses = {name: F.cross_entropy(scores[name], targets[name]) for name in HEADS}
        adam.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        for group in adam.param_groups:
            group["lr"] = plan.lr * ramp(clock.progress, hold=0.2)
        adam.step()
        step += 1
        clock.tick()
        log.add({name: loss.item() for name, loss in losses.items()}, images=step * plan.batch_size, clock=clock)
        if time.monotonic() - saved > 60:
            save()
            saved = time.monotonic()
    save()


def load_oracle(folder: Path) -> Oracle:
    """Returns the trained oracle."""
    checkpoint = load_checkpoint(folder / "oracle.pt")
    if checkpoint is None:
        raise FileNotFoundError(f"'{folder}' holds no oracle.pt: run the stage 'oracle' first.")
    oracle = Oracle()
    oracle.load_state_dict(checkpoint["network"])
    return oracle.eval().requires_grad_(False)


def judge(oracle: Oracle, images: NDArray[np.uint8]) -> dict[str, list[str]]:
    """Returns what the oracle sees in each picture, one list of words a head."""
    with torch.no_grad():
        batches = [oracle(to_tensor(images[start : start + 60])) for start in range(0, len(images), 60)]
    return {
        name: [options[int(i)] for batch in batches for i in batch[name].argmax(dim=1)]
        for name, options in HEADS.items()
    }
