"""Comparing a picture with the same one made again: numbers, and what explains a difference."""

import math

import numpy as np
import pytest
from PIL import Image

from pipelines.compare import cannot_be_repeated, difference, explain
from pipelines.named_models import NamedModel, Presence
from schema.infotext import parse_infotext
from schema.version import INFOTEXT_VERSION
from tests.numerics.pictures import synthetic

OURS = f"a fox\nSteps: 3, Sampler: Euler, CFG scale: 7.0, Seed: 7, Size: 16x16, RNG: CPU, Version: {INFOTEXT_VERSION}"


def test_equal_pictures_are_identical():
    apart = difference(synthetic(20, 10), synthetic(20, 10).convert("RGBA"))
    assert apart is not None
    assert apart.is_identical
    assert apart.psnr == math.inf
    assert apart.picture.getextrema() == ((0, 0), (0, 0), (0, 0))


def test_differences_are_measured_and_amplified():
    other = np.asarray(synthetic(20, 10)).copy()
    other[0, 0] = (4, 0, other[0, 0, 2])
    apart = difference(synthetic(20, 10), Image.fromarray(other))
    assert apart is not None
    assert (apart.largest, apart.changed) == (4, 1 / 200)
    assert apart.psnr == pytest.approx(10 * math.log10(255**2 / (16 / 600)))
    assert apart.picture.getpixel((0, 0)) == (224, 0, 0)


def test_pictures_of_other_sizes_are_not_laid_over_each_other():
    assert difference(synthetic(20, 10), synthetic(10, 20)) is None


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("Denoising strength: 0.5", "made from another picture"),
        ("Denoising strength: 0.5, Mask blur: 4", "made from another picture"),
        ("Script: X/Y/Z plot", "made by a script"),
        ("Denoising strength: 0.5, Hires upscale: 2, Hires upscaler: Latent", None),
        ("Clip skip: 2", None),
    ],
)
def test_records_that_are_not_enough_are_told(more: str, words: str | None):
    reason = cannot_be_repeated(parse_infotext(f"{OURS}, {more}"))
    assert reason is None if words is None else words in (reason or "")


def test_a_record_without_a_seed_is_not_enough():
    assert "no seed" in (cannot_be_repeated(parse_infotext("a fox\nSteps: 3, Sampler: Euler, Size: 8x8")) or "")


def test_missing_models_and_other_values_come_first():
    before = parse_infotext(f"{OURS}, Model hash: 1234567890, Model: dream, Eta: 0.3")
    after = parse_infotext(OURS.replace("CFG scale: 7.0", "CFG scale: 5").replace("RNG: CPU", "RNG: NV"))
    models = [
        NamedModel(kind="Checkpoint", name="dream", hash="1234567890", presence=Presence.MISSING),
        NamedModel(kind="VAE", name="good.pt", hash="aa", presence=Presence.SAME_NAME, local="good.pt"),
    ]
    reasons = explain(before, after, models=models, unused=["Eta"], device="cpu, float32")
    assert reasons[:4] == [
        "Checkpoint “dream” is missing.",
        "VAE “good.pt” is not the same file as here: the hashes differ.",
        "CFG scale: 7.0 in the record, 5 here.",
        "RNG: CPU in the record, NV here.",
    ]
    assert "“Eta: 0.3” means nothing here, so it was not repeated." in reasons
    assert "cpu, float32" in reasons[-1]


def test_equal_numbers_written_differently_explain_nothing():
    after = parse_infotext(OURS.replace("CFG scale: 7.0", "CFG scale: 7"))
    assert not any("CFG" in reason for reason in explain(parse_infotext(OURS), after, models=[]))


def test_other_programs_and_gpu_noise_are_named():
    before = parse_infotext("a fox\nSteps: 3, Sampler: Euler, Seed: 7, Size: 16x16, Version: v1.9.4")
    reasons = explain(before, parse_infotext(OURS), models=[], device="cpu, float32")
    assert any("set RNG to NV" in reason for reason in reasons)
    assert any("“v1.9.4”" in reason for reason in reasons)


def test_pictures_changed_afterwards_are_named():
    before = parse_infotext(f"{OURS}, Postprocess upscale by: 2, Postprocess upscaler: Lanczos")
    assert any("changed afterwards" in reason for reason in explain(before, parse_infotext(OURS), models=[]))
