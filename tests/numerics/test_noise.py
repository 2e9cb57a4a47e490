"""Noise equals A1111's bit for bit, and every picture of a batch has its own."""

from typing import Any

import pytest
import torch

from pipelines.sampling.noise import ImageNoise, NoiseSource, paste_centred, slerp
from pipelines.sampling.philox import PhiloxGenerator, philox_words
from tests.numerics.recorded import recorded_cases


def floats(values: Any) -> Any:
    """Nested lists with "NaN" and the like as numbers."""
    return [floats(value) for value in values] if isinstance(values, list) else float(values)


@pytest.mark.parametrize(("given", "expected"), recorded_cases("philox"))
def test_philox_draws_are_the_recorded_ones(given: dict[str, Any], expected: Any):
    seed = int(given["seed"])
    if given["op"] == "raw":
        assert [word.tolist() for word in philox_words(seed, given["offset"], given["n"])] == expected
    elif given["op"] == "large":
        values = PhiloxGenerator(seed).randn(tuple(given["shape"])).flatten()
        assert values[:8].tolist() == expected["first8"]
        assert values[-8:].tolist() == expected["last8"]
        assert values[::997].tolist() == expected["every_997"]
        assert float(values.abs().max()) == float(expected["absmax"])
        assert float(values.double().sum()) == pytest.approx(float(expected["sum64"]), rel=1e-12)
    else:
        generator = PhiloxGenerator(seed)
        calls = given.get("calls", 1)
        assert [generator.randn(tuple(given["shape"])).flatten().tolist() for _ in range(calls)] == expected


@pytest.mark.parametrize(("given", "expected"), recorded_cases("slerp"))
def test_slerp_is_the_recorded_one_with_its_quirks(given: dict[str, Any], expected: Any):
    low, high = torch.tensor(floats(given["low"])), torch.tensor(floats(given["high"]))
    torch.testing.assert_close(
        slerp(given["val"], low, high), torch.tensor(floats(expected)), rtol=0, atol=0, equal_nan=True
    )


@pytest.mark.parametrize(("given", "expected"), recorded_cases("image_rng"))
def test_three_draws_of_a_batch_are_the_recorded_ones(given: dict[str, Any], expected: Any):
    resize = (given["seed_resize_from_w"], given["seed_resize_from_h"]) if "seed_resize_from_w" in given else None
    noise = ImageNoise(
        given["seeds"],
        shape=tuple(given["shape"]),
        subseeds=given.get("subseeds", ()),
        subseed_strength=given.get("subseed_strength", 0.0),
        source=NoiseSource(given["source"]),
        ensd=given["eta_noise_seed_delta"],
        seed_resize_from=resize,
    )
    draws = [noise.initial(), noise.next(), noise.next()]
    for draw, values in zip(draws, expected, strict=True):
        torch.testing.assert_close(draw, torch.tensor(floats(values)), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("given", "expected"), recorded_cases("brownian"))
def test_brownian_noise_is_the_recorded_one(given: dict[str, Any], expected: Any):
    noise = ImageNoise(given["seeds"], shape=tuple(given["shape"]), source=NoiseSource(given["source"]))
    path = noise.brownian(given["sigma_min"], given["sigma_max"])
    for (sigma, sigma_next), values in zip(given["pairs"], expected, strict=True):
        assert torch.equal(path(torch.tensor(sigma), torch.tensor(sigma_next)), torch.tensor(values))


@pytest.mark.parametrize("source", list(NoiseSource))
def test_picture_k_of_a_batch_has_the_noise_of_that_picture_alone(source: NoiseSource):
    settings: dict[str, Any] = {
        "shape": (4, 6, 5),
        "subseed_strength": 0.3,
        "source": source,
        "ensd": 31337,
        "seed_resize_from": (32, 48),
    }
    batch = ImageNoise([5, 6, 7], subseeds=[1, 2, 3], **settings)
    alone = ImageNoise([6], subseeds=[2], **settings)
    assert torch.equal(batch.initial()[1:2], alone.initial())
    assert torch.equal(batch.next()[1:2], alone.next())
    assert torch.equal(batch.next([1]), alone.next())
    levels = torch.tensor(9.0), torch.tensor(3.5)
    assert torch.equal(batch.brownian(0.03, 14.6)(*levels)[1:2], alone.brownian(0.03, 14.6)(*levels))


def test_a_generator_that_did_not_draw_has_not_moved():
    noise, other = (ImageNoise([1, 2], shape=(4, 2, 2), source=NoiseSource.CPU) for _ in range(2))
    noise.next([0])
    assert torch.equal(noise.next()[1], other.next()[1])


def test_brownian_increments_add_up_and_do_not_depend_on_earlier_queries():
    high, middle, low = torch.tensor(10.0), torch.tensor(4.0), torch.tensor(0.5)
    path = ImageNoise([3], shape=(4, 8, 8), source=NoiseSource.CPU).brownian(0.03, 14.6)
    parts = path(high, middle) * 6**0.5 + path(middle, low) * 3.5**0.5
    torch.testing.assert_close(path(high, low) * 9.5**0.5, parts, rtol=1e-5, atol=1e-5)
    fresh = ImageNoise([3], shape=(4, 8, 8), source=NoiseSource.CPU).brownian(0.03, 14.6)
    assert torch.equal(fresh(middle, low), path(middle, low))


def test_brownian_noise_has_unit_variance():
    path = ImageNoise([3], shape=(4, 64, 64), source=NoiseSource.NV).brownian(0.03, 14.6)
    noise = path(torch.tensor(2.0), torch.tensor(1.0))
    assert float(noise.std()) == pytest.approx(1.0, abs=0.02)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.03)


def test_a_brownian_path_of_no_length_gives_zeros():
    path = ImageNoise([3], shape=(4, 2, 2), source=NoiseSource.CPU).brownian(14.6, 14.6)
    assert torch.equal(path(torch.tensor(14.6), torch.tensor(7.0)), torch.zeros(1, 4, 2, 2))


def test_seeds_outside_64_bits_wrap_around_instead_of_failing():
    noise = [ImageNoise([seed], shape=(4, 2, 2), source=NoiseSource.NV).initial() for seed in (-1, 2**64 - 1)]
    assert torch.equal(*noise)
    assert torch.isfinite(ImageNoise([-5], shape=(4, 2, 2), source=NoiseSource.CPU).initial()).all()


def test_pasting_centres_small_patches_and_crops_large_ones():
    canvas = torch.zeros(1, 4, 6)
    assert paste_centred(canvas, torch.ones(1, 2, 2))[0].sum(0).tolist() == [0, 0, 2, 2, 0, 0]
    patch = torch.arange(9.0).repeat(1, 4, 1)
    # Nine columns into six: the offset of -1.5 rounds to -2, so the last column stays free.
    assert paste_centred(canvas, patch)[0, 0].tolist() == [2, 3, 4, 5, 6, 0]
