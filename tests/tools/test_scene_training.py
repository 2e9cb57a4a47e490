"""The training stages at toy size: each stops, goes on from its checkpoint, and ends in a folder diffusers loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tools.scene_model.export import export
from tools.scene_model.latents import LatentPlan, cache_latents, load_latents
from tools.scene_model.learning import Averaged, Clock, Muon, load_checkpoint, ramp, save_checkpoint
from tools.scene_model.networks import TOY
from tools.scene_model.oracle import Oracle, OraclePlan, judge, train_oracle
from tools.scene_model.sample import SamplingOptions, load_checkpoint_painter, load_exported_painter, paint
from tools.scene_model.team import Team
from tools.scene_model.train_text import TextPlan, train_text
from tools.scene_model.train_unet import UnetPlan, noise_levels, timestep_weights, train_unet
from tools.scene_model.train_vae import VaePlan, train_vae


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training folder after two steps of every stage."""
    path = tmp_path_factory.mktemp("scene_model")
    team = Team()
    train_vae(team, VaePlan(folder=path, budget_s=1000, sizes=TOY, batch_size=2, scaling_images=2, max_steps=2))
    train_text(team, TextPlan(folder=path, budget_s=1000, sizes=TOY, batch_size=4, max_steps=2))
    cache_latents(team, LatentPlan(folder=path, scenes=8, part_size=4, sizes=TOY))
    train_unet(team, UnetPlan(folder=path, budget_s=1000, sizes=TOY, batch_size=2, max_steps=2))
    return path


def test_latents_are_kept_with_masks_and_words(folder: Path) -> None:
    data = load_latents(LatentPlan(folder=folder, scenes=0))
    assert data.latents.shape == (8, 4, 16, 16)
    assert data.masks.shape == (8, 1, 16, 16)
    assert float(data.masks.max()) <= 1.0
    assert len(data.specs) == 8


def test_stopped_unet_goes_on_where_it_was(folder: Path) -> None:
    before = load_checkpoint(folder / "unet.pt")
    assert before is not None
    train_unet(Team(), UnetPlan(folder=folder, budget_s=1000, sizes=TOY, batch_size=2, max_steps=1))
    after = load_checkpoint(folder / "unet.pt")
    assert after is not None
    assert after["step"] == before["step"] + 1
    assert after["images"] == before["images"] + 2
    assert after["spent_s"] >= before["spent_s"]
    assert any(not torch.equal(after["network"][name], weight) for name, weight in before["network"].items())


def test_decoder_stage_leaves_the_encoder_alone(folder: Path) -> None:
    options: dict[str, int] = {"batch_size": 2, "scaling_images": 2, "max_steps": 1}
    train_vae(Team(), VaePlan(folder=folder, budget_s=1000, sizes=TOY, is_decoder_only=True, **options))
    start, tuned = load_checkpoint(folder / "vae.pt"), load_checkpoint(folder / "decoder.pt")
    assert start is not None and tuned is not None
    for name, weight in start["average"].items():
        is_frozen = name.startswith(("encoder", "quant_conv"))
        assert torch.equal(weight, tuned["network"][name]) or not is_frozen


def test_finished_stage_returns_at_once(folder: Path) -> None:
    before = load_checkpoint(folder / "text.pt")
    train_text(Team(), TextPlan(folder=folder, budget_s=0.0, sizes=TOY, batch_size=4))
    after = load_checkpoint(folder / "text.pt")
    assert before is not None and after is not None
    assert before["step"] == after["step"]


def test_exported_folder_paints_what_the_checkpoints_paint(folder: Path, tmp_path: Path) -> None:
    size = export(folder, tmp_path / "mini", TOY)
    assert size < 4 * 2**20
    assert {path.name for path in (tmp_path / "mini").iterdir()} == {
        "model_index.json",
        "scheduler",
        "text_encoder",
        "unet",
        "vae",
    }
    options = SamplingOptions(steps=2)
    captions = ["red ball, beach, unheardof", "a blue car"]
    ours = paint(load_checkpoint_painter(folder, TOY), captions, options)
    theirs = paint(load_exported_painter(tmp_path / "mini"), captions, options)
    assert ours.shape == (2, 128, 128, 3)
    assert np.abs(ours.astype(int) - theirs).mean() < 2


def test_oracle_learns_resumably_and_answers_in_words(tmp_path: Path) -> None:
    for _ in range(2):
        train_oracle(Team(), OraclePlan(folder=tmp_path, budget_s=1000, batch_size=4, max_steps=1))
    checkpoint = load_checkpoint(tmp_path / "oracle.pt")
    assert checkpoint is not None and checkpoint["step"] == 2
    seen = judge(Oracle().eval(), np.zeros((3, 128, 128, 3), np.uint8))
    assert {name: len(words) for name, words in seen.items()} == {"subject": 3, "color": 3, "background": 3, "style": 3}


def test_muon_shrinks_a_matrix_error() -> None:
    torch.manual_seed(0)
    weight, target = torch.nn.Parameter(torch.zeros(6, 12)), torch.randn(6, 12)
    muon = Muon([weight], lr=0.05)
    first = (weight - target).square().mean().item()
    for _ in range(60):
        weight.grad = 2 * (weight.detach() - target)
        muon.step()
    assert (weight - target).square().mean().item() < 0.2 * first


def test_average_starts_quickly_and_then_moves_slowly() -> None:
    network = torch.nn.Linear(1, 1)
    average = Averaged(network, decay=0.99)
    with torch.no_grad():
        network.weight.fill_(5.0)
    average.update(network, step=1)
    early = float(next(average.network.parameters()))
    average.update(network, step=100_000)
    assert early > 1.0 or early > 0.8 * 5.0 / 8
    assert 5.0 - float(next(average.network.parameters())) > 0.9 * (5.0 - early)


def test_rate_holds_and_then_falls() -> None:
    assert ramp(0.0) == ramp(0.49) == 1.0
    assert ramp(0.75) == pytest.approx(0.51, abs=0.01)
    assert ramp(1.0) == pytest.approx(0.02)


def test_noisy_timesteps_weigh_more_and_clean_ones_little() -> None:
    weights = timestep_weights(noise_levels())
    assert weights[900] == 10.0
    assert weights[1] < 0.05


def test_a_gap_does_not_spend_the_budget() -> None:
    clock = Clock(budget_s=100)
    clock._last -= 4000  # pyright: ignore[reportPrivateUsage]
    clock.tick()
    assert clock.progress < 0.02


def test_checkpoint_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.pt"
    save_checkpoint(path, {"step": 1})
    save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path) == {"step": 2}
    assert [entry.name for entry in path.parent.iterdir()] == ["state.pt"]
