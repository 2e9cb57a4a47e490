"""Measures how the allocator and the memory layout change a UNet call on the CPU: `python -m tools.bench.cpu_unet`.

Each setting runs in a process of its own with one thread, and processor time is counted (system time included, where
the cost of fresh memory shows), so that other work on the machine disturbs little. The table shows the best call of
each setting and its ratio to plain settings.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

from tools.launcher import GLIBC_MALLOC

SETTINGS = {
    "plain": ({}, []),
    "glibc thresholds": (GLIBC_MALLOC, []),
    "channels last": ({}, ["--channels-last"]),
    "thresholds, channels last": (GLIBC_MALLOC, ["--channels-last"]),
    "prepacked": ({}, ["--prepack"]),
    "thresholds and prepacked": (GLIBC_MALLOC, ["--prepack"]),
}
MODELS = {
    "mini": {"block_out_channels": [64, 128, 192, 192], "sample_size": 16, "cross_attention_dim": 256},
    "sd15-64px": {"sample_size": 8},
    "sd15-512px": {"sample_size": 64},
}


def measure(model: str, dtype: str, repeats: int, *, prepack: bool, channels_last: bool) -> list[float]:
    """Processor seconds of each of `repeats` calls of a random UNet with cond and uncond in one batch."""
    import torch

    from pipelines.checkpoints.layout import family_config
    from pipelines.checkpoints.libraries import UNet2DConditionModel
    from pipelines.checkpoints.model import Family

    config = family_config(Family.SD1, "unet") | MODELS[model]
    # Constant weights: drawing random ones would take longer than the measurement.
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
    unet = unet.to(getattr(torch, dtype)).to_empty(device="cpu").eval().requires_grad_(False)
    for parameter in unet.parameters():
        parameter.fill_(0.01)
    if channels_last:
        unet = unet.to(memory_format=torch.channels_last)
    if prepack:
        prepack_convolutions(unet, config["sample_size"])
    side = config["sample_size"]
    x = torch.randn(2, 4, side, side, dtype=unet.dtype)
    context = torch.randn(2, 77, config["cross_attention_dim"], dtype=unet.dtype)
    times = []
    with torch.inference_mode():
        for _ in range(repeats + 2):
            start = time.process_time()
            unet(x, torch.tensor(500.0), context)
            times.append(time.process_time() - start)
    return times[2:]


def prepack_convolutions(unet: Any, side: int) -> None:
    """Stores every convolution's weights in the blocked layout that oneDNN would reorder them to at each call."""
    import torch

    sizes: dict[str, torch.Size] = {}
    hooks = []
    for name, layer in unet.named_modules():
        if isinstance(layer, torch.nn.Conv2d):

            def note(layer: Any, args: Any, name: str = name) -> None:
                sizes[name] = args[0].shape

            hooks.append(layer.register_forward_pre_hook(note))
    with torch.inference_mode():
        context = torch.zeros(2, 77, unet.config["cross_attention_dim"], dtype=unet.dtype)
        unet(torch.zeros(2, 4, side, side, dtype=unet.dtype), torch.tensor(1.0), context)
    for hook in hooks:
        hook.remove()
    for name, layer in unet.named_modules():
        if name in sizes:
            packed = torch._C._nn.mkldnn_reorder_conv2d_weight(
                layer.weight.to_mkldnn(), layer.padding, layer.stride, layer.dilation, layer.groups, list(sizes[name])
            )

            def forward(x: Any, layer: Any = layer, packed: Any = packed) -> Any:
                geometry = (layer.padding, layer.stride, layer.dilation, layer.groups)
                return torch.ops.mkldnn._convolution_pointwise(x, packed, layer.bias, *geometry, "none", [], "")

            layer.forward = forward


def main() -> None:
    """Runs every setting `--rounds` times and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, default="mini")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--prepack", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--one", action="store_true", help="measure this process and print its times")
    arguments = parser.parse_args()
    if arguments.one:
        times = measure(
            arguments.model,
            arguments.dtype,
            arguments.repeats,
            prepack=arguments.prepack,
            channels_last=arguments.channels_last,
        )
        print(json.dumps(times))
        return
    best: dict[str, float] = {}
    command = [sys.executable, "-m", "tools.bench.cpu_unet", "--one", "--model", arguments.model]
    command += ["--dtype", arguments.dtype, "--repeats", str(arguments.repeats)]
    for _ in range(arguments.rounds):
        for name in arguments.only:
            environment, flags = SETTINGS[name]
            run = subprocess.run(
                [*command, *flags],
                env=os.environ | environment | {"OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
            )
            if run.returncode:
                print(f"{name}: {run.stderr.strip().splitlines()[-1]}")
                continue
            best[name] = min([best.get(name, float("inf")), *json.loads(run.stdout)])
    print(f"{arguments.model}, {arguments.dtype}")
    for name, seconds in best.items():
        print(f"{name:28} {seconds * 1000:9.1f} ms  {seconds / best['plain']:5.2f}")


if __name__ == "__main__":
    main()
