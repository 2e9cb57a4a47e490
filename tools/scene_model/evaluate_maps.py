r"""Measures the shipped depth and pose networks on renders that training never showed, as they are and decoded.

    python -m tools.scene_model.evaluate_maps --weights models/ControlNetPreprocessor/mini \
        --model models/Stable-diffusion/mini
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from preprocessors.mini import people_of
from preprocessors.mini_networks import NATIVE_SIDE, MiniDepth, MiniPose
from tools.scene_model.conditions import nearness
from tools.scene_model.evaluate import through_vae
from tools.scene_model.render import NATIVE_SIZE, Scene, render_scene
from tools.scene_model.sample import load_exported_painter, picture_tensor
from tools.scene_model.spec import FIGURES, sample_spec

Pixels = NDArray[np.uint8]

_FIRST_SEED = 3 * 10**9
_NEAR = 0.05


def held_out_scenes(count: int, *, with_figures: bool) -> list[Scene]:
    """Returns scenes that training never showed; of figures alone if asked."""
    scenes: list[Scene] = []
    seed = _FIRST_SEED
    while len(scenes) < count:
        rng = np.random.default_rng(seed)
        spec = sample_spec(rng, empty_share=0.0, allow_held_out=True)
        assert spec.subject is not None
        if with_figures:
            spec = replace(spec, subject=replace(spec.subject, name=FIGURES[seed % len(FIGURES)]))
        scenes.append(render_scene(spec, rng, NATIVE_SIZE))
        seed += 1
    return scenes


def _as_seen(images: Pixels) -> Tensor:
    """Returns pictures as the networks get them, (n, 3, 256, 256), 0 to 1."""
    size = (NATIVE_SIDE, NATIVE_SIDE)
    return picture_tensor(np.stack([cv2.resize(i, size, interpolation=cv2.INTER_LANCZOS4) for i in images]))


def depth_scores(network: MiniDepth, images: Pixels, scenes: list[Scene]) -> dict[str, float]:
    """Returns how well depth is seen.

    Returns:
        `correlation` with the true depth; `error`, the mean absolute difference, 0 to 1; and `error after fitting`,
        the same after the best scale and shift for each picture.
    """
    rows: list[tuple[float, float, float]] = []
    for image, scene in zip(images, scenes, strict=True):
        seen = network.predict(_as_seen(image[None]))[0, 0].numpy()
        seen = np.asarray(cv2.resize(seen, (NATIVE_SIZE, NATIVE_SIZE), interpolation=cv2.INTER_AREA), float).ravel()
        true = nearness(scene.depth).astype(float).ravel() / 255
        slope, offset = np.polyfit(seen, true, 1)
        fitted = np.abs(slope * seen + offset - true).mean()
        rows.append((float(np.corrcoef(seen, true)[0, 1]), float(np.abs(seen - true).mean()), float(fitted)))
    names = ("correlation", "error", "error after fitting")
    return dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))


def pose_scores(network: MiniPose, images: Pixels, scenes: list[Scene]) -> dict[str, float]:
    """Returns how well joints are seen.

    Returns:
        `found` figures, `joints within 5 % of the height` (of all joints inside the picture), and the `mean error` of
        the joints that were found, as a share of the height.
    """
    found, near, errors = 0, [0, 0], list[float]()
    for image, scene in zip(images, scenes, strict=True):
        heatmaps, ways = network.predict(_as_seen(image[None]))
        people = people_of(heatmaps[0], ways[0])
        true = scene.skeletons[0] * NATIVE_SIDE - 0.5
        is_inside = ((true >= 0) & (true < NATIVE_SIDE - 1)).all(axis=1)
        near[1] += int(is_inside.sum())
        if not people:
            continue
        found += 1
        best = max(people, key=lambda person: sum(point is not None for point in person))
        seen = np.array([(np.nan, np.nan) if point is None else point for point in best], float)
        error = np.linalg.norm(seen - true, axis=1)[is_inside] / np.ptp(true[:, 1])
        near[0] += int((error <= _NEAR).sum())
        errors += error[~np.isnan(error)].tolist()
    return {
        "found": found / len(scenes),
        "joints within 5 % of the height": near[0] / near[1],
        "mean error": float(np.mean(errors)),
    }


def main() -> None:
    """Prints the scores on renders and on the same renders through the shipped autoencoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="folder of the two safetensors files")
    parser.add_argument("--model", type=Path, required=True, help="diffusers folder with the autoencoder")
    parser.add_argument("--count", type=int, default=100, help="number of scenes")
    arguments = parser.parse_args()
    painter, scores = load_exported_painter(arguments.model), dict[str, dict[str, dict[str, float]]]()
    depth, pose = MiniDepth().eval(), MiniPose().eval()
    for network, name in ((depth, "depth_mini"), (pose, "openpose_mini")):
        network.load_state_dict(load_file(arguments.weights / f"{name}.safetensors"))
        scenes = held_out_scenes(arguments.count, with_figures=network is pose)
        renders = np.stack([scene.image for scene in scenes])
        scores[name] = {}
        for kind, images in (("renders", renders), ("decoded", through_vae(painter, renders))):
            if isinstance(network, MiniDepth):
                scores[name][kind] = depth_scores(network, images, scenes)
            else:
                scores[name][kind] = pose_scores(network, images, scenes)
    print(json.dumps(scores, indent=1), flush=True)


if __name__ == "__main__":
    main()
