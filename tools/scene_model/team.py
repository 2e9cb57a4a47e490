"""Several one-thread processes that train one network together by averaging their gradients."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import start_processes

# One thread a process, sleeping while it waits: two OpenMP threads on a busy machine were seen to be seven times
# slower than one. The allocator settings keep big buffers from going back to the system after every layer.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "0",
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
}


class Team:
    """This process's place among the workers; with one worker nothing is exchanged."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def is_lead(self) -> bool:
        """Whether this process writes checkpoints and log lines."""
        return self.rank == 0

    def average_gradients(
        self, parameters: list[nn.Parameter], max_norm: float, progress: float
    ) -> tuple[float, float]:
        """Averages and clips the gradients of all workers.

        Args:
            parameters: The trained parameters, in the same order everywhere.
            max_norm: Longer gradients are scaled down to this norm.
            progress: Share of the budget spent, as this worker's clock sees it.

        Returns:
            The gradient's norm before clipping, and the lead worker's `progress`, so that all stop together.
        """
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = torch.cat([grad.reshape(-1) for grad in grads] + [torch.tensor([progress if self.is_lead else 0.0])])
        if self.size > 1:
            dist.all_reduce(flat)
            flat[:-1] /= self.size
        shared_progress, norm = float(flat[-1]), float(flat[:-1].norm())
        flat[:-1] *= min(1.0, max_norm / (norm + 1e-6))
        start = 0
        for parameter in parameters:
            count = parameter.numel()
            grad = flat[start : start + count].view(parameter.shape)
            parameter.grad = grad.contiguous(memory_format=torch.channels_last) if grad.dim() == 4 else grad
            start += count
        return norm, shared_progress

    def wait(self) -> None:
        """Returns when all workers are here."""
        if self.size > 1:
            dist.barrier()


def _work(rank: int, size: int, port: int, stage: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    if size > 1:
        address = f"tcp://127.0.0.1:{port}"
        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=size)
    stage(Team(rank, size), *arguments)
    if size > 1:
        dist.destroy_process_group()


def run_team(size: int, stage: Callable[..., None], *arguments: Any, port: int = 29611) -> None:
    """Runs `stage(team, *arguments)` in `size` processes and returns when all are done."""
    os.environ.update(ENVIRONMENT)
    if size == 1:
        _work(0, 1, port, stage, arguments)
        return
    start_processes(_work, args=(size, port, stage, arguments), nprocs=size, start_method="spawn")
