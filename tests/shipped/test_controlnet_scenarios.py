"""What people use ControlNet for, on the weights that ship, through the engine as its users drive it.

The floors lie below what was measured (docs/controlnet.md), above what pictures without control reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from schema.controlnet import ControlMode
from tools.scene_model import control_scenarios as scenarios

EDGE_FLOOR = 0.65
EDGE_GAIN = 0.25
JOINT_CEILING = 0.05


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[scenarios.Studio]:
    """The engine on the shipped model, ControlNets, depth and pose networks, with an empty data folder."""
    manager = scenarios.open_manager(tmp_path_factory.mktemp("scenarios"))
    yield scenarios.Studio(manager)
    manager.close()


@pytest.fixture(scope="module")
def full_strength(studio: scenarios.Studio) -> float:
    """The edge agreement with one canny unit at its usual settings."""
    return studio.curve()


def _assert_shapes_are_kept(pairs: list[scenarios.Pair], gain: float) -> None:
    near, whole = (scenarios.agreement(pairs, near_figure=is_near) for is_near in (True, False))
    assert near["controlled"] >= EDGE_FLOOR
    assert near["controlled"] >= near["free"] + gain
    assert whole["controlled"] >= whole["free"] + gain


def test_the_shipped_control_models_are_listed(studio: scenarios.Studio) -> None:
    stems = {name.rpartition(" [")[0] for name in studio.manager.control.model_names()}
    assert set(scenarios.MODELS.values()) <= stems
    assert not any(studio.manager.control.missing_weights(name) for name in ("depth_mini", "openpose_mini"))


def test_a_figure_stays_when_its_background_changes(studio: scenarios.Studio) -> None:
    _assert_shapes_are_kept(studio.new_background(), EDGE_GAIN)


def test_a_photograph_becomes_a_cartoon_of_the_same_shapes(studio: scenarios.Studio) -> None:
    pairs = studio.photo_to_toon()
    _assert_shapes_are_kept(pairs, EDGE_GAIN)
    ink = scenarios.ink_shares(pairs)
    assert ink["controlled"] > ink["input"]


def test_line_art_is_coloured_as_the_prompt_says(studio: scenarios.Studio) -> None:
    pairs = studio.colored_line_art()
    # Two of the three drawings stand where the model would have put them anyway.
    _assert_shapes_are_kept(pairs, EDGE_GAIN / 2)
    assert min(scenarios.color_shares(pairs)) >= 0.25


def test_another_person_takes_the_same_pose(studio: scenarios.Studio) -> None:
    errors = scenarios.joint_errors(studio.manager, studio.other_outfit())
    assert errors["input"] <= JOINT_CEILING
    assert errors["controlled"] <= JOINT_CEILING
    assert errors["free"] > 2 * errors["controlled"]


def test_agreement_rises_with_the_weight(studio: scenarios.Studio, full_strength: float) -> None:
    none, half = studio.curve(weight=0), studio.curve(weight=0.5)
    assert none < half < full_strength


def test_a_weight_of_zero_is_as_without_control(studio: scenarios.Studio) -> None:
    example = scenarios.NEW_BACKGROUND[0]
    assert np.array_equal(studio.controlled([example], ["canny"], weight=0)[0], studio.free(example))


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.3), (0.7, 1.0)])
def test_control_acts_only_between_start_and_end(
    studio: scenarios.Studio, full_strength: float, start: float, end: float
) -> None:
    window = {"guidance_start": start, "guidance_end": end}
    (picture,) = studio.controlled(scenarios.CURVE[:1], ["canny"], **window)
    assert not np.array_equal(picture, studio.free(scenarios.CURVE[0]))
    assert studio.curve(**window) < full_strength


def test_each_control_mode_acts_and_control_first_agrees_most(studio: scenarios.Studio, full_strength: float) -> None:
    prompt_first = studio.curve(control_mode=ControlMode.PROMPT)
    assert studio.curve(control_mode=ControlMode.CONTROL) > full_strength > prompt_first


@pytest.mark.parametrize("kind", ["canny", "depth", "openpose"])
def test_each_shipped_controlnet_fits_into_sixteen_megabytes(kind: str) -> None:
    folder = Path(__file__).parents[2] / "models" / "ControlNet" / scenarios.MODELS[kind]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 16_000_000


def test_the_shipped_preprocessors_fit_into_fifteen_megabytes() -> None:
    folder = Path(__file__).parents[2] / "models" / "ControlNetPreprocessor" / "mini"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 15_000_000
