"""Which device and number formats the networks run in: the one place that decides."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import torch

from schema.errors import StartupError


@dataclass(frozen=True, kw_only=True)
class DevicePolicy:
    """Where and in which precision the networks run.

    Attributes:
        dtype: Of UNet, text encoders and ControlNets.
        vae_dtype: Of the VAE.
        channels_last: Whether convolution weights are stored channels last.
    """

    device: torch.device
    dtype: torch.dtype
    vae_dtype: torch.dtype
    channels_last: bool = False


def choose_device(
    device: str = "auto",
    *,
    precision: str = "auto",
    full_precision_vae: bool = False,
    channels_last: bool = False,
) -> DevicePolicy:
    """The policy for a device; "auto" is the best present: CUDA (or ROCm), Intel XPU, Apple MPS, else the CPU.

    Accelerators run in float16. A CPU with bfloat16 matrix units runs UNet and text encoders in bfloat16 with
    channels-last weights, any other in float32. The CPU's VAE is float32 always: bfloat16's 8 bits would show as
    bands in the 8-bit picture.

    Args:
        device: Flag `--device`: auto, cpu, cuda, cuda:1, xpu, xpu:1 or mps.
        precision: Flag `--precision`: "full" is float32 everywhere, "half" the short format whatever it costs.
        full_precision_vae: Flag `--no-half-vae`.
        channels_last: Flag `--opt-channelslast`.

    Raises:
        StartupError: If the device is not there.

    Source: A1111 modules/devices.py, get_optimal_device_name.
    """
    chosen = _best_device() if device == "auto" else _named_device(device)
    if chosen.type == "cpu":
        is_short = precision == "half" or (precision == "auto" and cpu_has_matrix_units())
        dtype = torch.bfloat16 if is_short else torch.float32
        return DevicePolicy(
            device=chosen, dtype=dtype, vae_dtype=torch.float32, channels_last=is_short or channels_last
        )
    half = torch.float32 if precision == "full" else torch.float16
    return DevicePolicy(
        device=chosen,
        dtype=half,
        vae_dtype=torch.float32 if full_precision_vae else half,
        channels_last=channels_last,
    )


def _best_device() -> torch.device:
    return torch.device(next((kind for kind, count in _device_counts().items() if count), "cpu"))


def _device_counts() -> dict[str, int]:
    """Accelerators of each kind, in order of preference."""
    return {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "xpu": torch.xpu.device_count() if torch.xpu.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }


def _named_device(name: str) -> torch.device:
    kind, _, number = name.partition(":")
    if kind == "cpu":
        return torch.device("cpu")
    counts = _device_counts()
    present = ", ".join(["cpu", *(f"{kind} ({count})" for kind, count in counts.items() if count)])
    if (number and not number.isdecimal()) or int(number or 0) >= counts.get(kind, 0):
        raise StartupError(f"--device {name} is not there. Present: {present}. Leave the flag out to take the best.")
    return torch.device(name)


@functools.cache
def cpu_has_matrix_units() -> bool:
    """Whether the CPU multiplies bfloat16 matrices in AMX tiles.

    AVX512-BF16 alone does not count: there a UNet call in bfloat16 was measured to take 1.3 times as long as in
    float32 (`tools/bench/cpu_unet.py`), for its norms and activations are slower and its products no faster.
    """
    if getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)():
        return True
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    return "amx_bf16" in next((line.split() for line in lines if line.startswith("flags")), [])


def empty_cache(device: torch.device) -> None:
    """Gives memory that torch keeps for reuse back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "xpu":
        torch.xpu.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
