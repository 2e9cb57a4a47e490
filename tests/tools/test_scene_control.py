"""Control pictures, the measures of control, and the training of ControlNets, depth and pose networks at toy size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from preprocessors.mini_networks import MiniDepth, MiniPose
from tools.scene_model.agreement import edge_f1, figure_region, joint_error, measured_edges
from tools.scene_model.conditions import KINDS, conditions, edges_of, moved_elsewhere, nearness, redrawn_scene
from tools.scene_model.export import export_control, export_map
from tools.scene_model.latents import LatentPlan, cache_latents, load_latents
from tools.scene_model.learning import load_checkpoint
from tools.scene_model.networks import TOY
from tools.scene_model.render import random_scene, render_scene
from tools.scene_model.sample import Control, SamplingOptions, load_checkpoint_painter, paint
from tools.scene_model.spec import SceneSpec, Subject
from tools.scene_model.team import Team
from tools.scene_model.train_control import ControlPlan, ControlTrainer, control_file, load_controlnet, train_control
from tools.scene_model.train_maps import MapPlan, MapTrainer, load_map, train_map
from tools.scene_model.train_text import TextPlan, train_text
from tools.scene_model.train_unet import UnetPlan, train_unet
from tools.scene_model.train_vae import VaePlan, train_vae


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training folder after one step of every stage before the ControlNets."""
    path = tmp_path_factory.mktemp("scene_control")
    team = Team()
    train_vae(team, VaePlan(folder=path, budget_s=1000, sizes=TOY, batch_size=2, scaling_images=2, max_steps=1))
    train_text(team, TextPlan(folder=path, budget_s=1000, sizes=TOY, batch_size=4, max_steps=1))
    cache_latents(team, LatentPlan(folder=path, scenes=40, part_size=20, sizes=TOY))
    train_unet(team, UnetPlan(folder=path, budget_s=1000, sizes=TOY, batch_size=2, max_steps=1))
    return path


def _a_figure(style: str = "toon", background: str = "plain") -> SceneSpec:
    subject = Subject(name="person", color="red", size="large", pose="arms out")
    return SceneSpec(subject=subject, background=background, style=style, background_color="white")


def test_latents_remember_which_scene_they_are(folder: Path) -> None:
    data = load_latents(LatentPlan(folder=folder, scenes=0))
    assert data.seeds == list(range(40))
    assert all(random_scene(seed).spec == spec for seed, spec in zip(data.seeds, data.specs, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_control_pictures_have_the_models_size_and_differ_from_scene_to_scene(kind: str) -> None:
    seeds = [seed for seed in range(60) if (s := random_scene(seed).spec.subject) and s.name == "person"][:3]
    pictures = conditions(kind, seeds, np.random.default_rng(0), [False, False, True])
    assert pictures.shape == (3, 128, 128, 3)
    assert pictures.dtype == np.uint8
    assert all(picture.max() > 100 for picture in pictures)
    assert not np.array_equal(pictures[0], pictures[1])


def test_a_scene_redrawn_in_another_style_keeps_its_shapes() -> None:
    seed, rng = 4, np.random.default_rng(1)
    variants = [redrawn_scene(seed, 128, rng) for _ in range(12)]
    assert len({scene.spec.style for scene in variants}) > 1
    assert all(np.array_equal(scene.mask, variants[0].mask) for scene in variants)


def test_a_subject_moved_elsewhere_stays_and_the_background_changes() -> None:
    scene = random_scene(3)
    moved = moved_elsewhere(scene, np.random.default_rng(2))
    inside, outside = scene.mask == 255, scene.mask == 0
    assert np.array_equal(scene.image[inside], moved.image[inside])
    assert np.array_equal(scene.depth[inside], moved.depth[inside])
    assert (scene.image[outside] != moved.image[outside]).mean() > 0.5


def test_nearest_is_white_and_farthest_black() -> None:
    stretched = nearness(np.array([[10, 60], [110, 20]], np.uint8))
    assert stretched.tolist() == [[0, 127], [255, 25]]


def test_a_picture_agrees_with_itself_and_not_with_another() -> None:
    first, second = random_scene(0).image, random_scene(5).image
    assert edge_f1(first, first) == pytest.approx(1.0)
    assert edge_f1(first, second) < 0.7
    assert edge_f1(first, np.zeros_like(first)) == 0.0


def test_edges_forgive_a_shift_of_two_pixels_and_no_large_one() -> None:
    image = render_scene(_a_figure(), np.random.default_rng(0)).image
    assert edge_f1(image, np.roll(image, 2, axis=1)) > 0.95
    assert edge_f1(image, np.roll(image, 20, axis=1)) < 0.6


def test_only_edges_near_the_figure_count_in_its_region() -> None:
    scene = render_scene(_a_figure(), np.random.default_rng(0))
    region = figure_region(scene.mask)
    marked = scene.image.copy()
    marked[4:12, 4:12] = (0, 0, 255)
    assert region.shape == measured_edges(scene.image).shape
    assert edge_f1(scene.image, marked, region) == pytest.approx(1.0)
    assert edge_f1(scene.image, marked) < 1.0


def test_joint_error_is_a_share_of_the_height_and_counts_missing_joints() -> None:
    wanted = np.stack([np.zeros(18), np.linspace(0, 10, 18)], axis=1)
    assert joint_error(wanted, wanted) == 0.0
    assert joint_error(wanted, wanted + [0.5, 0]) == pytest.approx(0.05)
    assert joint_error(wanted, np.full_like(wanted, np.nan)) == pytest.approx(0.25)


def test_companions_are_drawn_and_leave_the_scene_itself_alone() -> None:
    alone = render_scene(_a_figure(), np.random.default_rng(0))
    friend = Subject(name="astronaut", color="blue", position="left")
    together = render_scene(_a_figure(), np.random.default_rng(0), companions=[friend])
    assert (len(alone.skeletons), len(together.skeletons)) == (1, 2)
    assert together.mask.sum() > alone.mask.sum()


def test_an_untrained_controlnet_changes_nothing(folder: Path) -> None:
    trainer = ControlTrainer(Team(), ControlPlan(folder=folder, kind="canny", budget_s=1000, sizes=TOY))
    painter, options = load_checkpoint_painter(folder, TOY), SamplingOptions(steps=2)
    picture = edges_of(random_scene(0).image)[None, ..., None].repeat(3, axis=3)
    control = Control(network=trainer.control.eval(), pictures=picture)
    assert np.array_equal(paint(painter, ["a ball"], options), paint(painter, ["a ball"], options, [control]))


def test_controlnets_train_resumably_and_from_one_another(folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        train_control(
            Team(), ControlPlan(folder=folder, kind="canny", budget_s=1000, sizes=TOY, batch_size=2, max_steps=1)
        )
    canny = load_checkpoint(control_file(folder, "canny"))
    assert canny is not None and (canny["step"], canny["images"]) == (2, 4)
    plan = ControlPlan(folder=folder, kind="openpose", budget_s=1000, sizes=TOY, start_from="canny")
    started = ControlTrainer(Team(), plan).control.state_dict()
    assert all(torch.equal(started[name], weight) for name, weight in canny["average"].items())
    assert export_control(folder, "canny", tmp_path / "mini-canny", TOY) < 2**20
    ours = load_controlnet(folder, "canny", TOY)
    loaded = type(ours).from_pretrained(str(tmp_path / "mini-canny"))
    weights = ours.state_dict()
    assert all(torch.equal(weight.half(), weights[name].half()) for name, weight in loaded.state_dict().items())


@pytest.mark.parametrize("kind", ["depth", "pose"])
def test_depth_and_pose_networks_train_resumably(folder: Path, tmp_path: Path, kind: str) -> None:
    for _ in range(2):
        plan = MapPlan(folder=folder, kind=kind, budget_s=1000, sizes=TOY, batch_size=4, sides=(64,), max_steps=1)
        train_map(Team(), plan)
    checkpoint = load_checkpoint(folder / f"map-{kind}.pt")
    assert checkpoint is not None and checkpoint["step"] == 2
    size = export_map(folder, kind, tmp_path / f"{kind}_mini.safetensors")
    assert size < 6 * 10**6
    network = MiniDepth() if kind == "depth" else MiniPose()
    network.load_state_dict(load_file(tmp_path / f"{kind}_mini.safetensors"))
    assert load_map(folder, kind).state_dict().keys() == network.state_dict().keys()


def test_examples_carry_joints_where_the_figure_is(folder: Path) -> None:
    plan = MapPlan(folder=folder, kind="pose", budget_s=1000, sizes=TOY, batch_size=8, sides=(128,))
    examples = MapTrainer(Team(), plan).examples()
    assert len(examples) == 8
    people = [person for example in examples for person in example.people]
    assert len(people) >= 6
    for person in people:
        inside = person[person[:, 2] > 0]
        assert ((inside[:, :2] >= -0.5) & (inside[:, :2] < 127.5)).all()
    assert all(example.depth.max() > example.depth.min() for example in examples)
