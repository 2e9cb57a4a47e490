"""The scene renderer: same seed, same scene; picture, mask, depth and skeleton tell the same story."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tools.scene_model.figures import draw_pose
from tools.scene_model.render import Scene, random_scene, render_scene
from tools.scene_model.spec import (
    BACKGROUNDS,
    COLOR_NAMES,
    POSES,
    STYLES,
    SUBJECTS,
    SceneSpec,
    Subject,
    held_out_specs,
    is_held_out,
    sample_spec,
)


def _render(subject: Subject | None, *, background: str = "beach", style: str = "toon", seed: int = 1) -> Scene:
    color = "white" if background == "plain" else None
    spec = SceneSpec(subject=subject, background=background, style=style, background_color=color)
    return render_scene(spec, np.random.default_rng(seed))


def test_same_seed_gives_the_same_scene() -> None:
    first, second = random_scene(1234), random_scene(1234)
    assert first.spec == second.spec
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.depth, second.depth)


def test_other_seed_gives_another_picture() -> None:
    assert not np.array_equal(random_scene(1).image, random_scene(2).image)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", SUBJECTS)
def test_every_subject_covers_a_visible_part_in_every_style(name: str, style: str) -> None:
    scene = _render(Subject(name=name, color="red"), style=style)
    assert scene.image.shape == (128, 128, 3)
    assert scene.image.dtype == np.uint8
    covered = float((scene.mask > 127).mean())
    assert 0.03 < covered < 0.6


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_subject_changes_the_picture_only_near_its_mask(background: str) -> None:
    scene = _render(Subject(name="star", color="yellow"), background=background)
    empty = _render(None, background=background)
    changed = np.abs(scene.image.astype(int) - empty.image).max(axis=-1) > 24
    mask = scene.mask > 0
    near = np.zeros_like(mask)
    for y in range(-4, 5):
        for x in range(-4, 5):
            near |= np.roll(mask, (y, x), axis=(0, 1))
    assert changed[mask].mean() > 0.5
    assert not changed[~near].any()


def test_subject_is_nearer_than_the_background_behind_it() -> None:
    subject, empty = _render(Subject(name="house", color="blue")), _render(None)
    inside = subject.mask == 255
    assert np.all(subject.depth[inside] >= empty.depth[inside])


def test_ground_comes_nearer_toward_the_bottom() -> None:
    column = _render(None).depth[:, 64].astype(int)
    assert column[-1] > column[90] > column[10]


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("name", ["person", "astronaut"])
def test_skeleton_lies_inside_the_figure(name: str, pose: str) -> None:
    scene = _render(Subject(name=name, color="green", pose=pose), background="plain")
    (joints,) = scene.skeletons
    assert joints.shape == (18, 2)
    pixels = np.clip((joints * 128).astype(int), 0, 127)
    on_figure = scene.mask[pixels[:, 1], pixels[:, 0]] > 0
    assert on_figure[:14].mean() > 0.9


def test_arms_up_raises_both_wrists_over_the_shoulders() -> None:
    (joints,) = _render(Subject(name="person", color="red", pose="arms up")).skeletons
    assert joints[4, 1] < joints[2, 1]
    assert joints[7, 1] < joints[5, 1]


def test_only_figures_have_a_skeleton() -> None:
    assert _render(Subject(name="car", color="red")).skeletons == ()


def test_pose_picture_shows_colored_sticks_on_black() -> None:
    scene = _render(Subject(name="person", color="red"))
    picture = draw_pose(scene.skeletons, 128)
    lit = picture.max(axis=-1) > 0
    assert 0.005 < lit.mean() < 0.2
    assert len(np.unique(picture[lit], axis=0)) > 15


def test_left_and_right_are_where_they_should_be() -> None:
    columns = np.arange(128)
    centers = {}
    for position in ("left", "center", "right"):
        mask = _render(Subject(name="ball", color="red", position=position)).mask.astype(float)
        centers[position] = (mask.sum(axis=0) * columns).sum() / mask.sum()
    assert centers["left"] < 54 < centers["center"] < 74 < centers["right"]


def test_large_subjects_are_larger() -> None:
    areas = [_render(Subject(name="cube", color="red", size=size)).mask.mean() for size in ("small", "medium", "large")]
    assert areas == sorted(areas)
    assert areas[2] > 2 * areas[0]


def test_dark_subject_has_a_light_rim_at_night() -> None:
    scene = _render(Subject(name="cat", color="black"), background="night sky")
    bright = scene.image.astype(int).sum(axis=-1) > 480
    assert (bright & (scene.mask < 200)).sum() > 60


def test_any_size_can_be_rendered() -> None:
    scene = render_scene(random_scene(3).spec, np.random.default_rng(3), size=192)
    assert scene.image.shape == (192, 192, 3)
    assert scene.mask.shape == scene.depth.shape == (192, 192)


def test_training_never_shows_the_held_out_combinations() -> None:
    rng = np.random.default_rng(0)
    assert not any(is_held_out(sample_spec(rng)) for _ in range(3000))


def test_held_out_list_is_balanced() -> None:
    specs = held_out_specs()
    assert len(specs) == 240
    assert all(is_held_out(spec) for spec in specs)
    colors = [spec.subject.color for spec in specs if spec.subject]
    assert min(colors.count(name) for name in COLOR_NAMES) >= 12
    assert all(spec.subject is None or spec.background_color != spec.subject.color for spec in specs)


def test_other_color_of_a_held_out_scene_is_allowed() -> None:
    spec = held_out_specs()[0]
    assert spec.subject is not None
    other = next(name for name in COLOR_NAMES if name != spec.subject.color)
    assert not is_held_out(replace(spec, subject=replace(spec.subject, color=other)))
