"""Emphasis on encoder output and the choice of schedule entries, against recorded cases."""

import pytest
import torch
from torch.testing import assert_close

from pipelines.conditioning.emphasis import apply_emphasis
from pipelines.conditioning.types import Conditioning, ScheduledConditioning, at_call
from tests.numerics.recorded import recorded_cases

PICK = [case for case in recorded_cases("cond_stack") if case.values[0]["op"] == "pick"]


def values(nested):
    """Recorded numbers as a tensor; those that are not finite are recorded as text."""
    return [values(item) for item in nested] if isinstance(nested, list) else float(nested)


@pytest.mark.parametrize(("given", "expected"), recorded_cases("emphasis"))
def test_emphasis_acts_as_recorded(given, expected):
    z = torch.tensor(values(given["z"]))
    result = apply_emphasis(given["mode"], z, torch.tensor(values(given["multipliers"])))
    assert_close(result, torch.tensor(values(expected)), rtol=1e-6, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize(("given", "expected"), PICK)
def test_calls_use_the_recorded_schedule_entry(given, expected):
    schedule = tuple(
        ScheduledConditioning(until=end, conditioning=Conditioning(cross_attention=torch.tensor([[value]])))
        for end, value in zip(given["ends"], given["values"], strict=True)
    )
    assert at_call(schedule, given["step"]).cross_attention.item() == expected
