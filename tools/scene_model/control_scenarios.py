"""What people use ControlNet for, on the shipped model, through the program as its users drive it, with numbers.

    python -m tools.scene_model.control_scenarios --out docs/images/controlnet

The inputs are renders that training never showed, so that outlines and joints are exactly known.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.manager import PipelineManager
from preprocessors.poses import Poses, in_pixels
from schema.controlnet import ControlMode, ControlNetUnit
from schema.flags import parse_flags
from schema.paths import Paths
from schema.requests import Txt2ImgRequest
from schema.store import SettingsStore
from tools.scene_model.agreement import edge_f1, figure_region, joint_error
from tools.scene_model.control_examples import (
    CURVE,
    LINE_ART,
    LINE_ART_COLORS,
    NEW_BACKGROUND,
    OTHER_OUTFIT,
    PHOTO_TO_TOON,
    Example,
    line_art,
)
from tools.scene_model.evaluate import named_color_share
from tools.scene_model.render import NATIVE_SIZE, Scene

Pixels = NDArray[np.uint8]

MODELS = {"canny": "mini-canny", "depth": "mini-depth", "openpose": "mini-openpose"}
# This mode softens a control's finer layers, most of all in a small network; the weight makes up for that.
WEIGHT = 2.0
MODULES = {"canny": "canny", "depth": "depth_mini", "openpose": "openpose_mini"}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One example with and without control, from the same seed.

    Attributes:
        shown: What the units were shown.
        maps: What the preprocessors made of it.
    """

    example: Example
    scene: Scene
    shown: Pixels
    controlled: Pixels
    free: Pixels
    maps: tuple[Pixels, ...]


def open_manager(data: Path, *arguments: str) -> PipelineManager:
    """Returns the program's engine on the shipped model with its data in `data`; the caller closes it."""
    flags, _ = parse_flags(
        ["--data-dir", str(data), "--device", "cpu", "--precision", "full", "--offline", *arguments], {}
    )
    paths = Paths.from_flags(flags)
    return PipelineManager(flags=flags, paths=paths, store=SettingsStore(paths.settings_file, paths.ui_config_file))


def unit(kind: str, image: Pixels, **options: Any) -> ControlNetUnit:
    """Returns a unit as the page would fill it in: preprocessor, model, pixel perfect."""
    given = {"module": MODULES[kind], "model": MODELS[kind], "image": Image.fromarray(image), "pixel_perfect": True}
    return ControlNetUnit.model_validate({"enabled": True, **given, **options})


def paint(
    manager: PipelineManager, prompt: str, units: Sequence[ControlNetUnit] = (), *, seed: int
) -> tuple[Pixels, tuple[Pixels, ...]]:
    """Returns the picture of a prompt at the shipped model's usual settings, and the maps of its units."""
    request = Txt2ImgRequest(
        prompt=prompt,
        width=NATIVE_SIZE,
        height=NATIVE_SIZE,
        steps=20,
        cfg_scale=4.0,
        sampler_name="DPM++ 2M",
        scheduler="Karras",
        seed=seed,
        controlnet=list(units),
    )
    job = manager.submit(request, save=False)
    if not job.wait(300):
        raise TimeoutError(f"'{prompt}' took more than five minutes.")
    if job.exception is not None:
        raise job.exception
    assert job.result is not None
    first, *maps = [np.asarray(image.image.convert("RGB")) for image in job.result.images]
    return first, tuple(maps)


class Studio:
    """Paints examples with and without control, and remembers what it painted without."""

    def __init__(self, manager: PipelineManager) -> None:
        self.manager = manager
        self._free: dict[Example, Pixels] = {}

    def free(self, example: Example) -> Pixels:
        """The picture of an example's prompt without control."""
        if example not in self._free:
            self._free[example], _ = paint(self.manager, example.prompt, seed=example.seed)
        return self._free[example]

    def controlled(self, examples: Sequence[Example], kinds: Sequence[str], **options: Any) -> list[Pixels]:
        """Each example with units of the given kinds and further settings."""
        made: list[Pixels] = []
        for example in examples:
            units = [unit(kind, example.scene().image, **options) for kind in kinds]
            made.append(paint(self.manager, example.prompt, units, seed=example.seed)[0])
        return made

    def pairs(
        self,
        examples: Sequence[Example],
        kinds: Sequence[str],
        redraw: Callable[[Scene], Pixels] = lambda scene: scene.image,
    ) -> list[Pair]:
        """Each example with and without units of the given kinds, the control before the prompt and the weight 2.

        Args:
            examples: What is painted.
            kinds: One unit each.
            redraw: What the units are shown of an input.
        """
        made: list[Pair] = []
        for example in examples:
            scene = example.scene()
            units = [unit(kind, redraw(scene), control_mode=ControlMode.CONTROL, weight=WEIGHT) for kind in kinds]
            picture, maps = paint(self.manager, example.prompt, units, seed=example.seed)
            made.append(
                Pair(
                    example=example,
                    scene=scene,
                    shown=redraw(scene),
                    controlled=picture,
                    free=self.free(example),
                    maps=maps,
                )
            )
        return made

    def new_background(self) -> list[Pair]:
        """The figures of `NEW_BACKGROUND` elsewhere: canny and depth."""
        return self.pairs(NEW_BACKGROUND, ["canny", "depth"])

    def photo_to_toon(self) -> list[Pair]:
        """Photographs drawn as cartoons: canny."""
        return self.pairs(PHOTO_TO_TOON, ["canny"])

    def colored_line_art(self) -> list[Pair]:
        """The line art of `LINE_ART` in colours: canny."""
        return self.pairs(LINE_ART, ["canny"], line_art)

    def other_outfit(self) -> list[Pair]:
        """Other people in the poses of `OTHER_OUTFIT`: openpose."""
        return self.pairs(OTHER_OUTFIT, ["openpose"])

    def curve(self, **options: Any) -> float:
        """The edge F1 of the examples of `CURVE` with canny and the given settings of the unit."""
        made = self.controlled(CURVE, ["canny"], **options)
        inputs = [example.scene().image for example in CURVE]
        return float(np.mean([edge_f1(image, picture) for image, picture in zip(inputs, made, strict=True)]))


def agreement(pairs: Sequence[Pair], *, near_figure: bool) -> dict[str, float]:
    """Returns the mean edge F1 between input and output, `controlled` and `free`.

    Args:
        pairs: Examples with their pictures.
        near_figure: Count the edges of the figure alone, which is what is to stay when the background changes.
    """
    regions = [figure_region(pair.scene.mask) if near_figure else None for pair in pairs]
    return {
        "controlled": float(
            np.mean([edge_f1(p.scene.image, p.controlled, r) for p, r in zip(pairs, regions, strict=True)])
        ),
        "free": float(np.mean([edge_f1(p.scene.image, p.free, r) for p, r in zip(pairs, regions, strict=True)])),
    }


def ink_shares(pairs: Sequence[Pair]) -> dict[str, float]:
    """Returns how much of the subjects' outlines is black, in the inputs and in the pictures made from them."""
    return {
        "input": float(np.mean([ink_share(pair.scene.image, outline(pair.scene.mask)) for pair in pairs])),
        "controlled": float(np.mean([ink_share(pair.controlled, outline(pair.scene.mask)) for pair in pairs])),
    }


def color_shares(pairs: Sequence[Pair]) -> list[float]:
    """Returns the share of the asked colour inside each subject of `LINE_ART`, with control."""
    shares: list[float] = []
    for pair, color in zip(pairs, LINE_ART_COLORS, strict=True):
        inside = pair.controlled[pair.scene.mask > 200]
        shares.append(named_color_share(inside, color))
    return shares


def ink_share(image: Pixels, region: NDArray[np.bool_]) -> float:
    """Returns the share of nearly black pixels in a region, (256, 256): drawn outlines are black, photographed not."""
    large = cv2.resize(image, region.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return float((np.asarray(large)[region].max(axis=1) < 80).mean())


def outline(mask: Pixels) -> NDArray[np.bool_]:
    """Returns a band along the edge of a subject, (256, 256), from a mask of 0 to 255."""
    wide = figure_region(mask)
    inner = cv2.erode(wide.astype(np.uint8), np.ones((17, 17), np.uint8)) > 0
    return wide & ~inner


def seen_joints(manager: PipelineManager, image: Pixels) -> NDArray[np.float64]:
    """Returns the joints of the largest figure the shipped pose network sees, (18, 2), fractions; NaN where none."""
    found = manager.control.detect(MODULES["openpose"], Image.fromarray(image), resolution=256).poses
    poses = Poses.from_json(found)
    if not poses.people:
        return np.full((18, 2), np.nan)
    size = np.array([poses.width, poses.height], float)
    found_points = [in_pixels(person.body, poses.width, poses.height) for person in poses.people]
    bodies = [
        np.array([(np.nan, np.nan) if point is None else point for point in points], float) / size
        for points in found_points
    ]
    return max(bodies, key=lambda joints: float(np.nanmax(joints[:, 1]) - np.nanmin(joints[:, 1])))


def joint_errors(manager: PipelineManager, pairs: Sequence[Pair]) -> dict[str, float]:
    """Returns the mean joint error, as a share of the figure's height, against the renderer's own joints.

    `input` is what the pose network makes of the input, `controlled` and `free` what it sees in the pictures.
    """
    rows = {
        name: [joint_error(pair.scene.skeletons[0], seen_joints(manager, picture(pair))) for pair in pairs]
        for name, picture in _PICTURES.items()
    }
    return {name: float(np.mean(values)) for name, values in rows.items()}


_PICTURES: dict[str, Callable[[Pair], Pixels]] = {
    "input": lambda pair: pair.scene.image,
    "controlled": lambda pair: pair.controlled,
    "free": lambda pair: pair.free,
}


def sheet(rows: Sequence[Sequence[Pixels]], scale: int = 1) -> Pixels:
    """Returns pictures as a table, each brought to the shipped model's size times `scale`."""
    size = (NATIVE_SIZE * scale, NATIVE_SIZE * scale)
    lines = [np.concatenate([cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in row], 1) for row in rows]
    return np.concatenate(lines).astype(np.uint8)


def pair_rows(pairs: Sequence[Pair]) -> list[list[Pixels]]:
    """Returns rows for a sheet: what the units were shown, their maps, with control, without."""
    maps = [[pair.maps[index] for pair in pairs] for index in range(len(pairs[0].maps))]
    return [[pair.shown for pair in pairs], *maps, [pair.controlled for pair in pairs], [pair.free for pair in pairs]]


def main() -> None:
    """Runs all scenarios and writes their pictures and numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="gets the pictures and numbers.json")
    parser.add_argument("rest", nargs="*", help="further flags of the program, after --")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data:
        manager = open_manager(Path(data), *arguments.rest)
        try:
            numbers = _run_all(manager, arguments.out)
        finally:
            manager.close()
    text = json.dumps(numbers, indent=1)
    (arguments.out / "numbers.json").write_text(text + "\n", encoding="utf-8")
    print(text, flush=True)


def _run_all(manager: PipelineManager, folder: Path) -> dict[str, Any]:
    studio = Studio(manager)

    def keep(name: str, rows: list[list[Pixels]]) -> None:
        Image.fromarray(sheet(rows)).save(folder / f"{name}.webp", quality=90, method=6)

    background, toon = studio.new_background(), studio.photo_to_toon()
    lines, outfit = studio.colored_line_art(), studio.other_outfit()
    for name, pairs in (("new-background", background), ("photo-to-toon", toon), ("line-art", lines)):
        keep(name, pair_rows(pairs))
    keep("other-outfit", pair_rows(outfit))
    by_mode = {mode: studio.controlled(CURVE, ["canny"], control_mode=mode) for mode in ControlMode}
    inputs = [example.scene().image for example in CURVE]
    keep("modes", [inputs, *by_mode.values(), [studio.free(example) for example in CURVE]])
    return {
        "new background": _both_agreements(background),
        "photo to toon": {**_both_agreements(toon), "ink": ink_shares(toon)},
        "line art coloured": {**_both_agreements(lines), "colour": color_shares(lines)},
        "other outfit": joint_errors(manager, outfit),
        "weight": {str(weight): studio.curve(weight=weight) for weight in (0, 0.25, 0.5, 0.75, 1, 1.5)},
        "window": {
            f"{start} to {end}": studio.curve(guidance_start=start, guidance_end=end)
            for start, end in ((0, 1), (0, 0.3), (0, 0.6), (0.3, 1), (0.7, 1))
        },
        "mode": {
            mode.value: float(np.mean([edge_f1(a, b) for a, b in zip(inputs, made, strict=True)]))
            for mode, made in by_mode.items()
        },
    }


def _both_agreements(pairs: Sequence[Pair]) -> dict[str, dict[str, float]]:
    return {
        "near the figure": agreement(pairs, near_figure=True),
        "whole picture": agreement(pairs, near_figure=False),
    }


if __name__ == "__main__":
    main()
