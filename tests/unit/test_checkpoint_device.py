"""The device policy: which number formats a device gets."""

import pytest
import torch

from pipelines import device
from pipelines.device import choose_device
from schema.errors import StartupError

FLOAT32 = torch.float32


@pytest.mark.parametrize(
    ("has_matrix_units", "precision", "dtype"),
    [
        (True, "auto", torch.bfloat16),
        (True, "full", FLOAT32),
        (False, "auto", FLOAT32),
        (False, "half", torch.bfloat16),
    ],
)
def test_cpu_runs_in_bfloat16_where_that_is_fast_or_asked_for(monkeypatch, has_matrix_units, precision, dtype):
    monkeypatch.setattr(device, "cpu_has_matrix_units", lambda: has_matrix_units)
    policy = choose_device("cpu", precision=precision)
    assert (policy.device.type, policy.dtype, policy.vae_dtype) == ("cpu", dtype, FLOAT32)
    assert policy.channels_last is (dtype is torch.bfloat16)


@pytest.mark.parametrize(
    ("flags", "dtype", "vae_dtype"),
    [
        ({}, torch.float16, torch.float16),
        ({"full_precision_vae": True}, torch.float16, FLOAT32),
        ({"precision": "full"}, FLOAT32, FLOAT32),
    ],
)
def test_accelerators_run_in_float16_unless_told_otherwise(monkeypatch, flags, dtype, vae_dtype):
    monkeypatch.setattr(device, "_device_counts", lambda: {"cuda": 2, "xpu": 0, "mps": 0})
    for name, chosen in (("auto", "cuda"), ("cuda:1", "cuda:1")):
        policy = choose_device(name, **flags)
        assert (policy.device, policy.dtype, policy.vae_dtype) == (torch.device(chosen), dtype, vae_dtype)


@pytest.mark.parametrize("name", ["cuda:2", "mps", "tpu", "cuda:x"])
def test_a_device_that_is_not_there_is_refused(monkeypatch, name):
    monkeypatch.setattr(device, "_device_counts", lambda: {"cuda": 2, "xpu": 0, "mps": 0})
    with pytest.raises(StartupError, match="Present: cpu, cuda"):
        choose_device(name)
