"""Trains ControlNets for the shipped UNet: edges, depth and skeletons of the renderer's scenes.

The UNet stays as it is. A ControlNet starts as a copy of its first half; what it adds starts at zero, so that at first
nothing changes. Half of the prompts are empty: then only the control picture tells what is to be painted. Three in ten
control pictures show the subject in front of another background than the prompt's: the subject is to be kept and the
background to be changed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from tools.scene_model.captions import write_caption
from tools.scene_model.conditions import conditions
from tools.scene_model.latents import LatentPlan, LatentSet, load_latents
from tools.scene_model.learner import Learner, LearningRates
from tools.scene_model.learning import Log, load_checkpoint
from tools.scene_model.networks import SHIPPED, NetworkSizes
from tools.scene_model.sample import controlled_noise, picture_tensor
from tools.scene_model.spec import FIGURES
from tools.scene_model.team import Team
from tools.scene_model.tokens import compact_vocabulary
from tools.scene_model.train_text import load_text_encoder
from tools.scene_model.train_unet import (
    add_noise,
    caption_states,
    load_unet,
    noise_levels,
    sample_timesteps,
    timestep_weights,
    weighted_error,
)

_CONDITION_CHANNELS = (16, 32, 64, 96)
_EMPTY_CAPTIONS = 0.5
_DROPPED_CONDITIONS = 0.1
_FIGURE_SHARE = 0.8
_ELSEWHERE = 0.3
_EDGES = ("conv_in", "time_embedding", "controlnet_down_blocks", "controlnet_mid_block")


@dataclass(frozen=True, kw_only=True)
class ControlPlan:
    """How a ControlNet is trained.

    Attributes:
        kind: One of `conditions.KINDS`.
        budget_s: Wall-clock time over all runs.
        start_from: Kind of a trained ControlNet to start from instead of the UNet, where its file is there.
    """

    folder: Path
    kind: str
    budget_s: float
    start_from: str | None = None
    sizes: NetworkSizes = SHIPPED
    batch_size: int = 24
    adam_lr: float = 1e-3
    muon_lr: float = 0.01
    save_every_s: float = 120.0
    max_steps: int | None = None

    @property
    def file(self) -> Path:
        """The checkpoint."""
        return control_file(self.folder, self.kind)


def control_file(folder: Path, kind: str) -> Path:
    """Returns where a training folder keeps the ControlNet of a kind."""
    return folder / f"control-{kind}.pt"


def build_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """Returns a ControlNet that starts as the first half of `unet` and adds nothing yet.

    The last layer of the picture's own small encoder is random where diffusers has zeros: the layers after the blocks
    are zero already, and a second row of zeros only delays the first step.
    """
    control = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=_CONDITION_CHANNELS)
    last = control.controlnet_cond_embedding.conv_out
    nn.init.kaiming_normal_(last.weight, a=1.0)
    nn.init.zeros_(last.bias)  # pyright: ignore[reportArgumentType]
    control.set_attn_processor(AttnProcessor())
    return control.requires_grad_(True).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


class ControlTrainer:
    """A ControlNet with everything its training needs."""

    def __init__(self, team: Team, plan: ControlPlan) -> None:
        self.plan = plan
        torch.manual_seed(23)
        self.unet = load_unet(plan.folder, plan.sizes)
        self.unet.set_attn_processor(AttnProcessor())
        self.control = build_controlnet(self.unet)
        rates = LearningRates(adam=plan.adam_lr, muon=plan.muon_lr, hold=0.4, floor=0.01, edges=_EDGES)
        self.learner = Learner(self.control, team, plan.file, plan.budget_s, rates)
        if not self.learner.restore() and plan.start_from is not None:
            self._start_from(control_file(plan.folder, plan.start_from))
        self.rng = np.random.default_rng([29, self.learner.step, team.rank])
        torch.manual_seed(1000 * self.learner.step + team.rank)
        self.text = load_text_encoder(plan.folder, plan.sizes)
        self.vocabulary = compact_vocabulary()
        self.alphas = noise_levels()
        self.weights = timestep_weights(self.alphas)

    def _start_from(self, file: Path) -> None:
        checkpoint = load_checkpoint(file)
        if checkpoint is not None:
            self.control.load_state_dict(checkpoint["average"])
            self.learner.average.network.load_state_dict(checkpoint["average"])

    def choose(self, data: LatentSet) -> list[int]:
        """Returns the scenes of a batch; for skeletons most of them show a figure."""
        if self.plan.kind != "openpose":
            return self.rng.integers(0, len(data.specs), self.plan.batch_size).tolist()
        figures = [i for i, spec in enumerate(data.specs) if spec.subject and spec.subject.name in FIGURES]
        return [
            int(self.rng.choice(figures))
            if self.rng.random() < _FIGURE_SHARE
            else int(self.rng.integers(len(data.specs)))
            for _ in range(self.plan.batch_size)
        ]

    def loss(self, data: LatentSet) -> tuple[Tensor, Tensor]:
        """Returns the weighted loss of a random batch and its plain mean squared error."""
        indices, rng = self.choose(data), self.rng
        specs = [data.specs[index] for index in indices]
        are_elsewhere = [spec.subject is not None and bool(rng.random() < _ELSEWHERE) for spec in specs]
        pictures = picture_tensor(
            conditions(self.plan.kind, [data.seeds[index] for index in indices], rng, are_elsewhere)
        )
        pictures[torch.from_numpy(rng.random(len(indices)) < _DROPPED_CONDITIONS)] = 0
        timesteps = sample_timesteps(rng, len(indices))
        noisy, noise = add_noise(data.latents[indices].float(), self.alphas[timesteps])
        captions = [
            write_caption(spec, rng) if is_elsewhere or rng.random() >= _EMPTY_CAPTIONS else ""
            for spec, is_elsewhere in zip(specs, are_elsewhere, strict=True)
        ]
        states = caption_states(self.text, self.vocabulary, captions, rng)
        predicted = controlled_noise(self.unet, [(self.control, pictures, 1.0)], noisy, timesteps, states)
        return weighted_error(predicted, noise, data.masks[indices].float(), self.weights[timesteps])


def train_control(team: Team, plan: ControlPlan) -> None:
    """Trains until the time budget is spent; a later call goes on from the last checkpoint."""
    data = load_latents(LatentPlan(folder=plan.folder, scenes=0, sizes=plan.sizes))
    trainer = ControlTrainer(team, plan)
    learner = trainer.learner
    log, saved, first_step = Log(plan.file.stem, every_s=30.0), time.monotonic(), learner.step
    while learner.progress < 1.0 and (plan.max_steps is None or learner.step - first_step < plan.max_steps):
        loss, error = trainer.loss(data)
        row = learner.learn(loss, plan.batch_size)
        if team.is_lead:
            log.add({**row, "mse": error.item()}, images=learner.images, clock=learner.clock)
        if time.monotonic() - saved > plan.save_every_s:
            learner.save()
            saved = time.monotonic()
    learner.save()
    team.wait()


def load_controlnet(folder: Path, kind: str, sizes: NetworkSizes) -> ControlNetModel:
    """Returns the averaged ControlNet of a kind."""
    checkpoint = load_checkpoint(control_file(folder, kind))
    if checkpoint is None:
        raise FileNotFoundError(f"'{folder}' holds no control-{kind}.pt: run the stage 'control' first.")
    control = build_controlnet(load_unet(folder, sizes))
    control.load_state_dict(checkpoint["average"])
    return control.eval().requires_grad_(False)
