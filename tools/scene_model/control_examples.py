"""The inputs and prompts on which the shipped ControlNets are measured and shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.scene_model.render import Scene, render_scene
from tools.scene_model.spec import SceneSpec, Subject

_RENDER_SEED = 10**9 + 7


@dataclass(frozen=True, kw_only=True)
class Example:
    """An input and what is asked of it.

    Attributes:
        spec: The input in words.
        prompt: What the output is to show; never where the figure stands or how.
        seed: Of the output.
    """

    spec: SceneSpec
    prompt: str
    seed: int = 11

    def scene(self) -> Scene:
        """The input with its outline and joints."""
        return render_scene(self.spec, np.random.default_rng(_RENDER_SEED))


def _figure(color: str, *, name: str = "person", **more: Any) -> Subject:
    return Subject(name=name, color=color, **more)


def _scene(subject: Subject, background: str, style: str, background_color: str | None = None) -> SceneSpec:
    return SceneSpec(subject=subject, background=background, style=style, background_color=background_color)


NEW_BACKGROUND = (
    Example(
        spec=_scene(_figure("red", pose="arms out", size="large"), "plain", "toon", "white"),
        prompt="person, red shirt, mountains, toon",
    ),
    Example(
        spec=_scene(_figure("orange", name="car", position="right"), "meadow", "photo"),
        prompt="orange car, city, photo",
    ),
    Example(
        spec=_scene(_figure("blue", name="house", position="left"), "beach", "toon"),
        prompt="blue house, meadow, toon",
    ),
    Example(
        spec=_scene(_figure("white", name="astronaut", pose="waving", size="large"), "mountains", "photo"),
        prompt="white astronaut, beach, photo",
    ),
    Example(
        spec=_scene(_figure("pink", name="heart", position="left"), "plain", "photo", "gray"),
        prompt="pink heart, night sky, photo",
    ),
)

PHOTO_TO_TOON = (
    Example(spec=_scene(_figure("yellow", name="car", position="left"), "beach", "photo"), prompt="yellow car, toon"),
    Example(
        spec=_scene(_figure("green", pose="arms up", size="large"), "plain", "photo", "white"),
        prompt="person, green shirt, white background, toon",
    ),
    Example(
        spec=_scene(_figure("brown", name="house", position="right"), "meadow", "photo"),
        prompt="brown house, meadow, toon",
    ),
)

LINE_ART = (
    Example(spec=_scene(_figure("white", name="cat"), "plain", "sketch", "white"), prompt="orange cat, meadow, toon"),
    Example(
        spec=_scene(_figure("white", name="car", position="left"), "plain", "sketch", "white"),
        prompt="red car, white background, toon",
    ),
    Example(
        spec=_scene(_figure("white", name="star", size="large"), "plain", "sketch", "white"),
        prompt="yellow star, blue background, toon",
    ),
)
LINE_ART_COLORS = ("orange", "red", "yellow")

OTHER_OUTFIT = (
    Example(
        spec=_scene(_figure("red", pose="arms up", size="large"), "plain", "toon", "white"),
        prompt="woman, blue dress, beach, photo",
    ),
    Example(
        spec=_scene(_figure("green", pose="arms out", size="large", trousers="black"), "city", "photo"),
        prompt="astronaut, white suit, mountains, toon",
    ),
    Example(
        spec=_scene(_figure("yellow", pose="walking", size="large"), "meadow", "toon"),
        prompt="man, purple shirt, black pants, city, photo",
    ),
    Example(
        spec=_scene(_figure("blue", pose="waving", size="large", position="left"), "plain", "photo", "gray"),
        prompt="person, orange shirt, white background, toon",
    ),
)


CURVE = (PHOTO_TO_TOON[0], NEW_BACKGROUND[1])


def line_art(scene: Scene) -> NDArray[np.uint8]:
    """Returns a sketch's lines alone, black on white."""
    gray = cv2.cvtColor(scene.image, cv2.COLOR_RGB2GRAY)
    lines = np.where(gray < 130, gray, 255).astype(np.uint8)
    return np.repeat(lines[..., None], 3, axis=2)
