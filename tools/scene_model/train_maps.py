"""Trains the shipped depth and pose networks on renders, whose depth and joints are exactly known.

They must work on what the model paints as well, so a quarter of their pictures went through the autoencoder with some
noise in the latents, and the others are blurred, grained, compressed, cut and scaled.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from preprocessors.mini_networks import NATIVE_SIDE, MiniDepth, MiniPose, pose_targets
from tools.scene_model.conditions import nearness
from tools.scene_model.latents import LatentPlan, LatentSet, load_latents
from tools.scene_model.learner import Learner, LearningRates
from tools.scene_model.learning import Log, load_checkpoint
from tools.scene_model.networks import SHIPPED, NetworkSizes, decode_latents, scaling_factor
from tools.scene_model.render import Scene, random_scene, render_scene
from tools.scene_model.sample import picture_tensor
from tools.scene_model.spec import FIGURES, sample_spec, sample_subject
from tools.scene_model.team import Team
from tools.scene_model.train_vae import load_vae, to_images

KINDS = ("depth", "pose")
MapNetwork = MiniDepth | MiniPose

_DECODED_SHARE = 0.25
_COMPANY = 0.35
_POINT_WEIGHT = 12.0
_WAY_WEIGHT = 0.02
_HEAD_START = -3.0


@dataclass(frozen=True, kw_only=True)
class MapPlan:
    """How a network is trained.

    Attributes:
        kind: One of `KINDS`.
        budget_s: Wall-clock time over all runs.
        sides: Widths and heights of the training pictures; each batch takes one.
    """

    folder: Path
    kind: str
    budget_s: float
    sizes: NetworkSizes = SHIPPED
    batch_size: int = 12
    sides: tuple[int, ...] = (NATIVE_SIDE, NATIVE_SIDE * 3 // 4)
    adam_lr: float = 2e-3
    muon_lr: float = 0.02
    save_every_s: float = 60.0
    max_steps: int | None = None

    @property
    def file(self) -> Path:
        """The checkpoint."""
        return map_file(self.folder, self.kind)


@dataclass(frozen=True, kw_only=True)
class Example:
    """A picture with its labels.

    Attributes:
        image: (side, side, 3), 0 to 255.
        depth: (side, side), 0 to 255, nearest white.
        people: Joints in pixels, (n, 18, 3): x, y, and 1 where they lie inside the picture.
    """

    image: NDArray[np.uint8]
    depth: NDArray[np.uint8]
    people: NDArray[np.float32]


def map_file(folder: Path, kind: str) -> Path:
    """Returns where a training folder keeps the network of a kind."""
    return folder / f"map-{kind}.pt"


def build_network(kind: str) -> MapNetwork:
    """Returns an untrained network that sees nothing anywhere at first."""
    network = MiniPose() if kind == "pose" else MiniDepth()
    bias = network.head.bias
    assert bias is not None
    with torch.no_grad():
        bias[: 19 if kind == "pose" else 0] = _HEAD_START
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _people_scene(rng: np.random.Generator, size: int) -> Scene:
    """Renders a scene with a figure, often in company."""
    spec = sample_spec(rng, allow_held_out=True, empty_share=0.0)
    assert spec.subject is not None
    name = FIGURES[int(rng.random() < 0.25)]
    spec = replace(spec, subject=replace(spec.subject, name=name))
    companions = [
        replace(sample_subject(rng, None), name=FIGURES[int(rng.random() < 0.25)], position=position)
        for position in ("left", "right")
        if rng.random() < _COMPANY
    ]
    return render_scene(spec, rng, size, companions)


def _placed(scene: Scene, image: NDArray[np.uint8], side: int, rng: np.random.Generator) -> Example:
    """Returns the scene at network size: moved, scaled and mirrored at random."""
    zoom = float(np.exp(rng.normal(0, 0.18)))
    shift = rng.normal(0, 0.06, 2) + (1 - zoom) / 2
    scale = side * zoom / image.shape[0]
    matrix = np.array([[scale, 0, shift[0] * side], [0, scale, shift[1] * side]])
    # The smaller picture's pixel centres lie at half-integers: without this all labels would be off by half a pixel.
    matrix[:, 2] += (scale - 1) / 2
    moved, depth = (
        cv2.warpAffine(each, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
        for each in (image, nearness(scene.depth))
    )
    points = [joints * image.shape[0] * scale + shift * side - 0.5 for joints in scene.skeletons]
    people = np.stack(points) if points else np.zeros((0, 18, 2))
    is_inside = ((people > -0.5) & (people < side - 0.5)).all(axis=2, keepdims=True)
    example = Example(image=moved, depth=depth, people=np.concatenate([people, is_inside], axis=2).astype(np.float32))
    return _mirrored(example) if rng.random() < 0.5 else example


_MIRRORED = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)


def _mirrored(example: Example) -> Example:
    people = example.people[:, _MIRRORED].copy()
    people[..., 0] = example.image.shape[1] - 1 - people[..., 0]
    return Example(image=example.image[:, ::-1], depth=example.depth[:, ::-1], people=people)


def _worn(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Returns the picture blurred, grained, recoloured or compressed at random."""
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 2.2)).astype(np.uint8)
    if rng.random() < 0.5:
        tones = image * rng.uniform(0.75, 1.25, 3) + rng.normal(0, 12, 3)
        grain = cv2.resize(rng.normal(0, rng.uniform(0, 12), (64, 64, 3)), image.shape[:2][::-1])
        image = np.clip(tones + grain + rng.normal(0, rng.uniform(0, 6), image.shape), 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 91))])
        image = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return image


class MapTrainer:
    """A network with everything its training needs."""

    def __init__(self, team: Team, plan: MapPlan) -> None:
        self.plan = plan
        torch.manual_seed(31)
        self.network = build_network(plan.kind)
        rates = LearningRates(adam=plan.adam_lr, muon=plan.muon_lr, hold=0.3, edges=("stem", "head"))
        self.learner = Learner(self.network, team, plan.file, plan.budget_s, rates)
        self.learner.restore()
        self.rng = np.random.default_rng([37, self.learner.step, team.rank])
        torch.manual_seed(1000 * self.learner.step + team.rank)
        self.vae = load_vae(plan.folder, plan.sizes)
        data = load_latents(LatentPlan(folder=plan.folder, scenes=0, sizes=plan.sizes))
        self.latents: LatentSet = data
        is_figure = [spec.subject is not None and spec.subject.name in FIGURES for spec in data.specs]
        self.wanted = np.flatnonzero(is_figure) if plan.kind == "pose" else np.arange(len(is_figure))

    @torch.no_grad()
    def _decoded(self, count: int) -> list[tuple[Scene, NDArray[np.uint8]]]:
        """Returns training scenes with their pictures as the decoder paints them."""
        chosen = self.rng.choice(self.wanted, count).tolist()
        latents = self.latents.latents[chosen].float()
        latents = latents + torch.randn_like(latents) * self.rng.uniform(0, 0.12)
        images = to_images(decode_latents(self.vae, latents / scaling_factor(self.vae)))
        return [(random_scene(self.latents.seeds[index]), image) for index, image in zip(chosen, images, strict=True)]

    def examples(self) -> list[Example]:
        """Returns a batch."""
        rng, count = self.rng, self.plan.batch_size
        pairs = self._decoded(round(count * _DECODED_SHARE))
        while len(pairs) < count:
            size = int(rng.choice((96, 128, 160, 192, 256)))
            if rng.random() < (0.85 if self.plan.kind == "pose" else 0.25):
                scene = _people_scene(rng, size)
            else:
                scene = random_scene(int(rng.integers(2**43, 2**44)), size, allow_held_out=True)
            pairs.append((scene, scene.image))
        side = int(rng.choice(self.plan.sides))
        placed = [_placed(scene, image, side, rng) for scene, image in pairs]
        return [replace(example, image=_worn(example.image, rng)) for example in placed]

    def loss(self) -> Tensor:
        """Returns the loss of a fresh batch."""
        examples = self.examples()
        pictures = picture_tensor(np.stack([example.image for example in examples]))
        if isinstance(self.network, MiniDepth):
            depth = torch.from_numpy(np.stack([example.depth for example in examples]))[:, None].float() / 255
            return depth_loss(self.network(pictures), depth)
        return pose_loss(self.network(pictures), examples)


def depth_loss(logits: Tensor, depth: Tensor) -> Tensor:
    """Returns the error of predicted depth and of its steps from pixel to pixel; both are (n, 1, h, w)."""
    seen = torch.sigmoid(logits)
    steps = [(seen.diff(dim=axis) - depth.diff(dim=axis)).abs().mean() for axis in (-1, -2)]
    return F.binary_cross_entropy_with_logits(logits, depth) + (seen - depth).abs().mean() + 2 * steps[0] + 2 * steps[1]


def pose_loss(predicted: tuple[Tensor, Tensor], examples: list[Example]) -> Tensor:
    """Returns the error of heatmaps, stricter near the joints, and of the ways to the persons' centres."""
    logits, ways = predicted
    height, width = examples[0].image.shape[:2]
    targets = [pose_targets(torch.from_numpy(example.people), height, width) for example in examples]
    heatmaps, wanted_ways, counted = (torch.stack(part) for part in zip(*targets, strict=True))
    weight = 1 + _POINT_WEIGHT * heatmaps
    points = F.binary_cross_entropy_with_logits(logits, heatmaps, weight)
    away = ((ways - wanted_ways).abs() * counted).sum() / (2 * counted.sum()).clamp(min=1)
    return 10 * points + _WAY_WEIGHT * away


def train_map(team: Team, plan: MapPlan) -> None:
    """Trains until the time budget is spent; a later call goes on from the last checkpoint."""
    trainer = MapTrainer(team, plan)
    learner = trainer.learner
    log, saved, first_step = Log(plan.file.stem), time.monotonic(), learner.step
    while learner.progress < 1.0 and (plan.max_steps is None or learner.step - first_step < plan.max_steps):
        row = learner.learn(trainer.loss(), plan.batch_size)
        if team.is_lead:
            log.add(row, images=learner.images, clock=learner.clock)
        if time.monotonic() - saved > plan.save_every_s:
            learner.save()
            saved = time.monotonic()
    learner.save()
    team.wait()


def load_map(folder: Path, kind: str) -> MapNetwork:
    """Returns the averaged network of a kind."""
    checkpoint = load_checkpoint(map_file(folder, kind))
    if checkpoint is None:
        raise FileNotFoundError(f"'{folder}' holds no map-{kind}.pt: run the stage '{kind}' first.")
    network = build_network(kind)
    network.load_state_dict(checkpoint["average"])
    return network.eval().requires_grad_(False)
