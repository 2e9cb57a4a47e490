"""What a scene contains: the words the model knows, and random or held-out combinations of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Color = tuple[int, int, int]

COLORS: dict[str, Color] = {
    "red": (218, 36, 36),
    "orange": (250, 138, 20),
    "yellow": (252, 222, 50),
    "green": (40, 165, 60),
    "cyan": (60, 215, 220),
    "blue": (35, 80, 225),
    "purple": (135, 55, 195),
    "pink": (250, 135, 190),
    "brown": (122, 74, 38),
    "black": (30, 30, 36),
    "white": (245, 245, 245),
    "gray": (132, 132, 138),
}
HAIR_COLORS: dict[str, Color] = {
    "blonde": (238, 208, 112),
    "black": (34, 30, 32),
    "brown": (108, 64, 36),
    "red": (196, 76, 32),
}
SUBJECTS = ("person", "astronaut", "house", "tree", "car", "cat", "ball", "cube", "star", "heart")
BACKGROUNDS = ("beach", "meadow", "night sky", "mountains", "city", "plain")
STYLES = ("photo", "toon", "sketch", "pixel art")
SIZES = ("small", "medium", "large")
POSITIONS = ("center", "left", "right")
POSES = ("standing", "arms up", "waving", "hands on hips", "walking", "jumping", "arms out")
TROUSERS = ("blue", "black", "gray", "brown", "white", "green", "red")
FIGURES = ("person", "astronaut")

COLOR_NAMES = tuple(COLORS)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The one thing a scene is about; `pose` and the clothing fields matter for figures only."""

    name: str
    color: str
    size: str = "medium"
    position: str = "center"
    pose: str = "standing"
    hair: str = "brown"
    is_woman: bool = False
    has_dress: bool = False
    trousers: str = "blue"


@dataclass(frozen=True, kw_only=True)
class SceneSpec:
    """A scene in words. `background_color` is set for the plain background only."""

    subject: Subject | None
    background: str
    style: str
    background_color: str | None = None


def held_out_color(subject: str, background: str, style: str) -> str:
    """Returns the one subject colour that this combination never has in training.

    The table is a Latin square of sorts: 10 x 6 x 4 = 240 combinations, each colour 20 times, so that a balanced
    list of unseen pictures remains for the evaluation.
    """
    index = 3 * SUBJECTS.index(subject) + 5 * BACKGROUNDS.index(background) + 4 * STYLES.index(style)
    return COLOR_NAMES[(index + index // 12) % len(COLOR_NAMES)]


def is_held_out(spec: SceneSpec) -> bool:
    """Tells whether training must not show this scene."""
    subject = spec.subject
    return subject is not None and subject.color == held_out_color(subject.name, spec.background, spec.style)


def contrasting_color(color: str, index: int) -> str:
    """Returns the `index`-th (cyclically) plain-background colour that is not `color`."""
    others = [name for name in COLOR_NAMES if name != color]
    return others[index % len(others)]


def held_out_specs() -> list[SceneSpec]:
    """Returns the 240 combinations of the evaluation, always the same and in the same order."""
    specs: list[SceneSpec] = []
    for background in BACKGROUNDS:
        for style in STYLES:
            for name in SUBJECTS:
                color = held_out_color(name, background, style)
                plain = contrasting_color(color, 7 * len(specs)) if background == "plain" else None
                specs.append(
                    SceneSpec(
                        subject=Subject(name=name, color=color, size="large" if len(specs) % 3 == 0 else "medium"),
                        background=background,
                        style=style,
                        background_color=plain,
                    )
                )
    return specs


def _choose(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def sample_subject(rng: np.random.Generator, forbidden_color: str | None) -> Subject:
    """Returns a random subject whose colour differs from `forbidden_color`."""
    name = _choose(rng, SUBJECTS)
    color = _choose(rng, COLOR_NAMES)
    if name == "tree" and rng.random() < 0.2:
        color = "green"
    if name == "astronaut" and rng.random() < 0.2:
        color = "white"
    while color == forbidden_color:
        color = _choose(rng, COLOR_NAMES)
    is_woman = bool(rng.random() < 0.5)
    return Subject(
        name=name,
        color=color,
        size=str(rng.choice(SIZES, p=(0.16, 0.49, 0.35))),
        position=str(rng.choice(POSITIONS, p=(0.7, 0.15, 0.15))),
        pose=_choose(rng, POSES),
        hair=_choose(rng, tuple(HAIR_COLORS)),
        is_woman=is_woman,
        has_dress=is_woman and bool(rng.random() < 0.45),
        trousers=_choose(rng, TROUSERS),
    )


def sample_spec(rng: np.random.Generator, *, empty_share: float = 0.03, allow_held_out: bool = False) -> SceneSpec:
    """Returns a random scene.

    Args:
        rng: Decides everything; the same state gives the same scene.
        empty_share: Share of scenes without a subject.
        allow_held_out: Whether the evaluation's combinations may come up.
    """
    while True:
        background = _choose(rng, BACKGROUNDS)
        background_color = _choose(rng, COLOR_NAMES) if background == "plain" else None
        style = str(rng.choice(STYLES, p=(0.3, 0.34, 0.18, 0.18)))
        subject = None if rng.random() < empty_share else sample_subject(rng, background_color)
        spec = SceneSpec(subject=subject, background=background, style=style, background_color=background_color)
        if allow_held_out or not is_held_out(spec):
            return spec
