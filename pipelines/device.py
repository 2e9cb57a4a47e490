"""Which device and number formats the networks run in: the one place that decides."""

from __future__ import annotations

import functools
from collections.abc import Callable
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
    *,
    use_cpu: bool = False,
    device_id: int | None = None,
    full_precision: bool = False,
    full_precision_vae: bool = False,
    channels_last: bool = False,
) -> DevicePolicy:
    """The policy for the best device present: CUDA (or ROCm), Intel XPU, Apple MPS, else the CPU.

    Accelerators run in float16. A CPU that multiplies bfloat16 in hardware runs UNet and text encoders in bfloat16
    with channels-last weights, any other in float32. The CPU's VAE is float32 always: bfloat16's 8 bits would show
    as bands in the 8-bit picture.

    Args:
        use_cpu: Flag `--use-cpu all`.
        device_id: Flag `--device-id`, the number of the CUDA or XPU device.
        full_precision: Flags `--precision full` or `--no-half`: float32 everywhere.
        full_precision_vae: Flag `--no-half-vae`.
        channels_last: Flag `--opt-channelslast`.

    Raises:
        StartupError: If `device_id` does not exist.

    Source: A1111 modules/devices.py, get_optimal_device_name.
    """
    device = torch.device("cpu") if use_cpu else _best_device(device_id)
    if device.type == "cpu":
        fast_bfloat16 = cpu_has_bfloat16() and not full_precision
        dtype = torch.bfloat16 if fast_bfloat16 else torch.float32
        return DevicePolicy(
            device=device, dtype=dtype, vae_dtype=torch.float32, channels_last=fast_bfloat16 or channels_last
        )
    half = torch.float32 if full_precision else torch.float16
    return DevicePolicy(
        device=device,
        dtype=half,
        vae_dtype=torch.float32 if full_precision_vae else half,
        channels_last=channels_last,
    )


def _best_device(device_id: int | None) -> torch.device:
    kinds: tuple[tuple[str, Callable[[], bool], Callable[[], int]], ...] = (
        ("cuda", torch.cuda.is_available, torch.cuda.device_count),
        ("xpu", torch.xpu.is_available, torch.xpu.device_count),
    )
    for kind, is_available, count in kinds:
        if not is_available():
            continue
        if device_id is None:
            return torch.device(kind)
        if device_id >= count():
            raise StartupError(f"--device-id {device_id} does not exist; there are {count()} {kind} devices, from 0.")
        return torch.device(kind, device_id)
    return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")


@functools.cache
def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware (AMX or AVX512-BF16 on x86, BF16 on Arm)."""
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    if any(getattr(torch.cpu, name, lambda: False)() for name in probes):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    words = next((line.split() for line in flags.splitlines() if line.startswith(("flags", "Features"))), [])
    return not {"amx_bf16", "avx512_bf16", "bf16"}.isdisjoint(words)


def empty_cache(device: torch.device) -> None:
    """Gives memory that torch keeps for reuse back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "xpu":
        torch.xpu.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
