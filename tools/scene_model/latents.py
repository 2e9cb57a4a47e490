"""Renders scenes once, encodes them with the frozen encoder and keeps the latents on disk for the UNet."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tools.scene_model.networks import LATENT_FACTOR, SHIPPED, NetworkSizes, encode_posterior, scaling_factor
from tools.scene_model.render import NATIVE_SIZE, random_scene
from tools.scene_model.spec import SceneSpec, Subject
from tools.scene_model.team import Team
from tools.scene_model.train_vae import load_vae, to_tensor

_PART_SIZE = 1000


@dataclass(frozen=True, kw_only=True)
class LatentPlan:
    """How many scenes are kept, in parts of 1000 numbered by seed, so that more can be added at any time."""

    folder: Path
    scenes: int
    sizes: NetworkSizes = SHIPPED
    image_size: int = NATIVE_SIZE
    part_size: int = _PART_SIZE

    def part_file(self, index: int) -> Path:
        """Where part `index` lies."""
        return self.folder / "latents" / f"{index:04d}.npz"


@dataclass(frozen=True, kw_only=True)
class LatentSet:
    """Scenes in memory.

    Attributes:
        latents: Scaled latents, (n, 4, h, w), float16.
        masks: Share of the subject in each cell, (n, 1, h, w), float16, 0 to 1.
        specs: The scenes in words.
        seeds: The scenes' numbers, from which `random_scene` renders them again.
    """

    latents: Tensor
    masks: Tensor
    specs: list[SceneSpec]
    seeds: list[int]


def cache_latents(team: Team, plan: LatentPlan) -> None:
    """Writes the parts that are missing; the workers take turns."""
    vae = load_vae(plan.folder, plan.sizes)
    plan.part_file(0).parent.mkdir(parents=True, exist_ok=True)
    for index in range(team.rank, plan.scenes // plan.part_size, team.size):
        path = plan.part_file(index)
        if path.exists():
            continue
        latents: list[Tensor] = []
        masks: list[Tensor] = []
        specs: list[SceneSpec] = []
        for start in range(0, plan.part_size, 20):
            first = index * plan.part_size + start
            scenes = [random_scene(seed, plan.image_size) for seed in range(first, first + min(20, plan.part_size))]
            with torch.no_grad():
                images = to_tensor(np.stack([scene.image for scene in scenes]))
                mean, _ = encode_posterior(vae, images)
            coverage = torch.from_numpy(np.stack([scene.mask for scene in scenes])).float().div(255)[:, None]
            latents.append((mean * scaling_factor(vae)).half())
            masks.append(F.avg_pool2d(coverage, LATENT_FACTOR).half())
            specs += [scene.spec for scene in scenes]
        words = json.dumps([asdict(spec) for spec in specs])
        temporary = path.with_name(f"{index:04d}.{os.getpid()}.tmp.npy")
        with temporary.open("wb") as file:
            np.savez(file, latents=torch.cat(latents).numpy(), masks=torch.cat(masks).numpy(), specs=np.array(words))
        temporary.replace(path)
        print(f"latents part {index} written", flush=True)
    team.wait()


def _spec_from_words(words: dict[str, Any]) -> SceneSpec:
    subject = Subject(**words["subject"]) if words["subject"] else None
    others = {key: value for key, value in words.items() if key != "subject"}
    return SceneSpec(subject=subject, **others)


def load_latents(plan: LatentPlan) -> LatentSet:
    """Returns all parts on disk."""
    latents: list[Tensor] = []
    masks: list[Tensor] = []
    specs: list[SceneSpec] = []
    seeds: list[int] = []
    for path in sorted(plan.part_file(0).parent.glob("*.npz")):
        with np.load(path) as part:
            latents.append(torch.from_numpy(part["latents"]))
            masks.append(torch.from_numpy(part["masks"]))
            words = json.loads(str(part["specs"]))
        specs += [_spec_from_words(entry) for entry in words]
        seeds += range(int(path.stem) * len(words), (int(path.stem) + 1) * len(words))
    if not latents:
        raise FileNotFoundError(f"'{plan.folder}' holds no latents: run the stage 'latents' first.")
    return LatentSet(latents=torch.cat(latents), masks=torch.cat(masks), specs=specs, seeds=seeds)
