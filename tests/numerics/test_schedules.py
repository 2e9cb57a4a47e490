"""Noise levels, timesteps and step counts equal A1111's."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.checkpoints.alphas import training_alphas
from pipelines.sampling.catalogue import SAMPLERS, SCHEDULES, resolve_sampler_and_schedule
from pipelines.sampling.predict import LcmSigmas
from pipelines.sampling.run import SamplingOptions, img2img_steps, schedule_sigmas
from pipelines.sampling.sigmas import ModelSigmas, ScheduleInput, rescale_zero_terminal_snr
from pipelines.sampling.timestep_samplers import timestep_list
from schema.errors import InvalidRequest
from tests.numerics.recorded import recorded, recorded_cases
from tests.numerics.toy import model_tables, recorded_options

TABLES = model_tables()
TOLERANCE = 1e-6


def assert_levels(levels: Tensor, expected: list[float]) -> None:
    """Same count, and no relative error above 1e-6."""
    torch.testing.assert_close(levels.double(), torch.tensor(expected).double(), rtol=TOLERANCE, atol=0)


@pytest.mark.parametrize(("given", "expected"), recorded_cases("sigma_schedules"))
def test_schedules_are_the_recorded_ones(given: dict[str, Any], expected: list[float]):
    table = TABLES[given["model"]]
    schedule = SCHEDULES.get(given["scheduler"])
    if schedule.sigmas is None:
        assert_levels(table.default_schedule(given["n"]), expected)
        return
    asked = ScheduleInput(
        n=given["n"],
        sigma_min=given["sigma_min"],
        sigma_max=given["sigma_max"],
        model=table,
        rho=given.get("rho"),
        is_sdxl=given["model"] == "sdxl",
        beta_alpha=given.get("alpha", 0.6),
        beta_beta=given.get("beta", 0.6),
    )
    assert_levels(schedule.sigmas(asked), expected)


@pytest.mark.parametrize(("given", "expected"), recorded_cases("sampler_sigmas"))
def test_each_sampler_runs_over_the_recorded_levels_and_records_the_same(given: dict[str, Any], expected: Any):
    options = recorded_options(given)
    table = LcmSigmas(training_alphas()) if options.sampler.is_lcm else TABLES[given["model"]]
    sigmas, infotext = schedule_sigmas(options, given["steps"], table, is_sdxl=given["model"] == "sdxl")
    if given.get("pass") == "both":
        assert_second_pass(options, infotext, given, expected)
        return
    assert_levels(sigmas, expected["sigmas"])
    assert list(infotext.items()) == list(expected["infotext"].items())


def assert_second_pass(
    options: SamplingOptions, first: dict[str, Any], given: dict[str, Any], expected: dict[str, Any]
) -> None:
    """The hires pass records its schedule only where it differs from the first pass."""
    asked = replace(
        options,
        schedule=SCHEDULES.get(given["hr_scheduler"]),
        first_pass_schedule=first.get("Schedule type", ""),
    )
    sigmas, second = schedule_sigmas(asked, given["steps"], TABLES[given["model"]], is_sdxl=False)
    assert_levels(sigmas, expected["second_pass_sigmas"])
    # The job starts "Hires schedule type" as None, to keep its place.
    assert {"Hires schedule type": None, **first} == expected["infotext_after_first"]
    assert {"Hires schedule type": None, **first, **second} == expected["infotext_after_second"]


@pytest.mark.parametrize(("given", "expected"), recorded_cases("model_schedule"))
def test_the_models_table_and_its_inverse_are_the_recorded_ones(given: dict[str, Any], expected: Any):
    table = TABLES[given["model"]]
    if given["op"] == "tables":
        assert table.sigmas[given["indexes"]].tolist() == expected["sigmas"]
        assert table.log_sigmas[given["indexes"]].tolist() == expected["log_sigmas"]
    elif given["op"] == "t_to_sigma":
        assert_levels(table.to_sigma(torch.tensor(given["t"])), expected)
    else:
        assert_levels(table.to_t(torch.tensor(given["sigma"])), expected)


@pytest.mark.parametrize(("given", "expected"), recorded_cases("zsnr"))
def test_zero_terminal_snr_is_the_recorded_rescale(given: dict[str, Any], expected: list[float]):
    alphas = training_alphas().half() if "float16" in given["alphas"] else training_alphas()
    assert rescale_zero_terminal_snr(alphas)[given["indexes"]].tolist() == expected


@pytest.mark.parametrize(("given", "expected"), recorded_cases("timesteps"))
def test_timestep_lists_are_the_recorded_ones(given: dict[str, Any], expected: Any):
    steps = given["steps"] + 1 if given["always_discard_next_to_last_sigma"] else given["steps"]
    if isinstance(expected, dict):
        # A1111 divides by zero; we say what to change.
        with pytest.raises(InvalidRequest, match="1000 timesteps"):
            timestep_list(steps)
        return
    assert timestep_list(steps).tolist() == expected


@pytest.mark.parametrize(("given", "expected"), recorded_cases("img2img_steps"))
def test_img2img_step_counts_are_the_recorded_ones(given: dict[str, Any], expected: dict[str, int]):
    steps = given["explicit_steps"] or given["steps"]
    counts = img2img_steps(
        steps,
        given["denoising_strength"],
        explicit=given["explicit_steps"] is not None,
        fix_steps=given["fix_steps_option"],
    )
    assert counts == (expected["schedule_steps"], expected["t_enc"])


@pytest.mark.parametrize(("given", "expected"), recorded_cases("sampler_names"))
def test_sampler_and_schedule_names_resolve_as_recorded(given: dict[str, Any], expected: list[str]):
    found = resolve_sampler_and_schedule(
        given["sampler"], given["scheduler"], default_becomes_automatic=given["convert_automatic"]
    )
    assert [found.sampler.name, found.schedule.name] == expected


def test_samplers_and_schedules_are_listed_as_in_a1111_with_its_facts():
    tables = recorded("sampler_names")
    assert SAMPLERS.names == [sampler["name"] for sampler in tables["samplers"]]
    for sampler in tables["samplers"]:
        spec, options = SAMPLERS.get(sampler["name"]), sampler["options"]
        assert list(spec.aliases) == sampler["aliases"]
        assert spec.calls(20) == sampler["total_steps_of_20"]
        assert spec.uses_ensd == options.get("uses_ensd", False)
        assert spec.brownian == options.get("brownian_noise", False)
        assert spec.discard_next_to_last_sigma == options.get("discard_next_to_last_sigma", False)
        default = None if spec.default_schedule is None else SCHEDULES.get(spec.default_schedule).key
        assert default == options.get("scheduler")
    for spec, schedule in zip(SCHEDULES, tables["schedulers"], strict=True):
        assert (spec.name, spec.key) == (schedule["label"], schedule["name"])
        assert (spec.default_rho or -1) == schedule["default_rho"]
        assert spec.needs_model == schedule["need_inner_model"]
        assert list(spec.other_names) == (schedule["aliases"] or [])
    for name, label in tables["lower_case_lookup"].items():
        assert SAMPLERS.get(name).name == label


def test_a_name_not_taken_as_written_is_reported():
    unknown = resolve_sampler_and_schedule("euler a", "nope")
    assert unknown.sampler.name == "DPM++ 2M"
    assert [note.split("'")[1] for note in unknown.substitutions] == ["nope", "euler a"]
    assert resolve_sampler_and_schedule("DPM++ 2M Karras", None).substitutions == ()


def test_loose_matching_accepts_aliases_and_any_case_and_says_so():
    found = resolve_sampler_and_schedule("k_euler_a", "KARRAS", match_loosely=True)
    assert (found.sampler.name, found.schedule.name) == ("Euler a", "Karras")
    assert len(found.substitutions) == 2


def test_quantizing_takes_the_nearest_trained_level():
    table = ModelSigmas.from_alphas(training_alphas(), quantize=True)
    levels = torch.tensor([0.001, 1.0, 14.7])
    nearest = (table.log_sigmas - levels.log()[:, None]).abs().argmin(dim=1)
    assert table.to_t(levels).tolist() == nearest.tolist()


def test_sigma_to_timestep_and_back_is_the_identity():
    t = torch.linspace(0, 999, 57)
    torch.testing.assert_close(TABLES["sd15"].to_t(TABLES["sd15"].to_sigma(t)), t, rtol=1e-4, atol=1e-2)
