"""Measures how well the model follows prompts on combinations it never saw, and paints the sheet for the docs.

python -m tools.scene_model.evaluate --model models/Stable-diffusion/mini --oracle DIR --out docs/images/mini-model
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tools.scene_model.captions import evaluation_caption
from tools.scene_model.networks import SHIPPED, decode_latents, encode_posterior
from tools.scene_model.oracle import HEADS, Oracle, judge, load_oracle
from tools.scene_model.render import render_scene
from tools.scene_model.sample import (
    Painter,
    SamplingOptions,
    load_checkpoint_painter,
    load_exported_painter,
    paint,
    write_sheet,
)
from tools.scene_model.spec import COLORS, STYLES, SUBJECTS, SceneSpec, held_out_specs
from tools.scene_model.train_vae import to_images, to_tensor

Scores = dict[str, float]

SHEET_PROMPTS = (
    "red ball on a beach",
    "a large blue car in the city, photo",
    "a green tree in a meadow, photo",
    "a person in a red shirt on a beach, toon",
    "white astronaut, night sky, photo",
    "yellow star, night sky, toon",
    "orange cat, meadow, toon",
    "large purple heart, white background, photo",
    "a white house in front of mountains, photo",
    "a small red house, mountains, sketch",
    "pink cube, blue background, toon",
    "1girl, yellow dress, blonde hair, arms up, city, toon",
    "red car on the left, beach, photo",
    "black cat, pink background, toon",
    "large cyan ball, meadow, photo",
    "a green heart, mountains, pixel art",
    "a blue house in a meadow, toon",
    "man in a green shirt, waving, city, photo",
    "brown cat, night sky, pixel art",
    "orange astronaut, arms out, mountains, toon",
    "gray cube on the right, beach, photo",
    "purple tree, cyan background, sketch",
    "yellow car, night sky, toon",
    "masterpiece, best quality, red star, beach, photo",
)


def _to_lab(colors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Converts RGB, (n, 3), 0 to 255, into Lab with 8-bit scaling, (n, 3)."""
    return cv2.cvtColor(colors.reshape(1, -1, 3), cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float32)


def color_share(image: NDArray[np.uint8], color: str) -> float:
    """Returns the share of the picture's central part whose nearest named colour is `color`, lightness counted less."""
    height, width = image.shape[:2]
    middle = image[int(0.3 * height) : int(0.85 * height), int(0.28 * width) : int(0.72 * width)]
    return named_color_share(middle.reshape(-1, 3), color)


def named_color_share(pixels: NDArray[np.uint8], color: str) -> float:
    """Returns the share of pixels, (n, 3), whose nearest named colour is `color`, lightness counted less."""
    palette = _to_lab(np.asarray(list(COLORS.values()), np.uint8))
    difference = (_to_lab(pixels)[:, None] - palette) * np.array([0.6, 1, 1], np.float32)
    nearest = np.square(difference).sum(axis=-1).argmin(axis=1)
    return float((nearest == list(COLORS).index(color)).mean())


def wanted(spec: SceneSpec) -> dict[str, str]:
    """Returns the right answer of each of the oracle's heads for a scene with a subject."""
    assert spec.subject is not None
    words = {"subject": spec.subject.name, "color": spec.subject.color}
    return {**words, "background": spec.background, "style": spec.style}


def hits(oracle: Oracle, images: NDArray[np.uint8], specs: list[SceneSpec]) -> dict[str, NDArray[np.bool_]]:
    """Returns which pictures are right: by head, by `color_pixels`, and in `all` of subject, colour and background."""
    seen, answers = judge(oracle, images), [wanted(spec) for spec in specs]
    right = {
        name: np.array([word == answer[name] for word, answer in zip(seen[name], answers, strict=True)])
        for name in HEADS
    }
    shares = [color_share(image, answer["color"]) for image, answer in zip(images, answers, strict=True)]
    right["color_pixels"] = np.array(shares) >= 0.1
    right["all"] = right["subject"] & right["color"] & right["background"]
    return right


def means(right: dict[str, NDArray[np.bool_]]) -> Scores:
    """Returns the share of right pictures."""
    return {name: float(values.mean()) for name, values in right.items()}


def _grouped(right: dict[str, NDArray[np.bool_]], keys: list[str], order: tuple[str, ...]) -> dict[str, Scores]:
    member = {key: np.array([k == key for k in keys]) for key in order}
    return {key: {name: float(values[member[key]].mean()) for name, values in right.items()} for key in order}


def render_references(specs: list[SceneSpec]) -> NDArray[np.uint8]:
    """Returns the renderer's own pictures of the scenes: what a perfect model would paint."""
    return np.stack([render_scene(spec, np.random.default_rng(index)).image for index, spec in enumerate(specs)])


@torch.no_grad()
def through_vae(painter: Painter, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the pictures encoded and decoded: what a perfect UNet would reach with this autoencoder."""
    parts: list[NDArray[np.uint8]] = []
    for start in range(0, len(images), 30):
        latents, _ = encode_posterior(painter.vae, to_tensor(images[start : start + 30]))
        parts.append(to_images(decode_latents(painter.vae, latents)))
    return np.concatenate(parts)


def negative_prompt_effect(painter: Painter, oracle: Oracle, options: SamplingOptions) -> Scores:
    """Returns the share of night skies and cities when the prompt names no background: without and with a negative."""
    captions = [f"{color} {name}, toon" for name in SUBJECTS[4:] for color in list(COLORS)[:4]]
    shares: Scores = {}
    for label, negative in (("without", ""), ("with", "night sky, city")):
        images = paint(painter, captions, replace(options, negative_prompt=negative))
        backgrounds = judge(oracle, images)["background"]
        shares[label] = float(np.mean([word in ("night sky", "city") for word in backgrounds]))
    return shares


def seconds_per_picture(painter: Painter, options: SamplingOptions) -> float:
    """Returns the time of one picture alone, after a first one that warms up."""
    paint(painter, ["red ball, beach, toon"], options)
    start = time.perf_counter()
    paint(painter, ["red ball, beach, toon"], options)
    return time.perf_counter() - start


def evaluate(
    painter: Painter, oracle: Oracle, options: SamplingOptions, *, limit: int | None = None
) -> dict[str, object]:
    """Returns all measurements; `limit` takes an evenly spread part of the 240 scenes for a quick look."""
    specs = held_out_specs()
    chosen = list(range(len(specs))) if limit is None else np.linspace(0, len(specs) - 1, limit).astype(int).tolist()
    captions = [evaluation_caption(specs[index], index) for index in chosen]
    specs = [specs[index] for index in chosen]
    references = render_references(specs)
    images = paint(painter, captions, options)
    right = hits(oracle, images, specs)
    result: dict[str, object] = {
        "model": means(right),
        "renders": means(hits(oracle, references, specs)),
        "renders through the VAE": means(hits(oracle, through_vae(painter, references), specs)),
    }
    if limit is None:
        fourth = slice(None, None, 4)
        weak = paint(painter, captions[fourth], replace(options, cfg_scale=1.0))
        result["model without guidance (every fourth)"] = means(hits(oracle, weak, specs[fourth]))
        result["negative prompt"] = negative_prompt_effect(painter, oracle, options)
        result["seconds per picture"] = seconds_per_picture(painter, options)
        result["by subject"] = _grouped(right, [wanted(spec)["subject"] for spec in specs], SUBJECTS)
        result["by style"] = _grouped(right, [spec.style for spec in specs], STYLES)
        result["by color"] = _grouped(right, [wanted(spec)["color"] for spec in specs], tuple(COLORS))
    return result


def markdown_table(rows: dict[str, Scores]) -> str:
    """Returns the rows as a table in per cent."""
    columns = ("subject", "color", "color_pixels", "background", "style", "all")
    lines = ["| | subject | colour | colour in pixels | background | style | subject, colour and background |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, scores in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{100 * scores[column]:.0f}" for column in columns) + " |")
    return "\n".join(lines)


def main() -> None:
    """Evaluates an exported folder or, with --checkpoints, a training folder as it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, help="diffusers folder")
    source.add_argument("--checkpoints", type=Path, help="training folder")
    parser.add_argument("--oracle", type=Path, required=True, help="training folder that holds oracle.pt")
    parser.add_argument("--out", type=Path, required=True, help="gets evaluation.json, evaluation.md and sheet.png")
    parser.add_argument("--limit", type=int, help="number of scenes for a quick look")
    parser.add_argument("--cfg", type=float, default=SamplingOptions.cfg_scale)
    parser.add_argument("--steps", type=int, default=SamplingOptions.steps)
    arguments = parser.parse_args()
    painter = (
        load_exported_painter(arguments.model)
        if arguments.model
        else load_checkpoint_painter(arguments.checkpoints, SHIPPED)
    )
    options = SamplingOptions(cfg_scale=arguments.cfg, steps=arguments.steps)
    result = evaluate(painter, load_oracle(arguments.oracle), options, limit=arguments.limit)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "evaluation.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    flat = {name: scores for name, scores in result.items() if isinstance(scores, dict) and "subject" in scores}
    tables = [markdown_table(flat)]  # pyright: ignore[reportArgumentType]
    tables += [markdown_table(result[key]) for key in ("by subject", "by style", "by color") if key in result]  # pyright: ignore[reportArgumentType]
    (arguments.out / "evaluation.md").write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    print("\n\n".join(tables), flush=True)
    write_sheet(paint(painter, list(SHEET_PROMPTS), options), arguments.out / "sheet.png", columns=8)


if __name__ == "__main__":
    main()
