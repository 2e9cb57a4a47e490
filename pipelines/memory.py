"""How much memory the machine and the device have and use."""

import os
from typing import Any

import psutil
import torch


def memory_report() -> dict[str, Any]:
    """RAM and device memory in bytes, in the shape of A1111's `/sdapi/v1/memory`."""
    process = psutil.Process(os.getpid())
    used = process.memory_info().rss
    available = psutil.virtual_memory().available
    return {
        "ram": {"free": available, "used": used, "total": available + used},
        "cuda": _cuda_report() if torch.cuda.is_available() else {"error": "unavailable"},
    }


def _cuda_report() -> dict[str, Any]:
    free, total = torch.cuda.mem_get_info()
    stats = torch.cuda.memory_stats()

    def pair(name: str) -> dict[str, int]:
        return {"current": stats.get(f"{name}.all.current", 0), "peak": stats.get(f"{name}.all.peak", 0)}

    return {
        "system": {"free": free, "used": total - free, "total": total},
        "active": pair("active_bytes"),
        "allocated": pair("allocated_bytes"),
        "reserved": pair("reserved_bytes"),
        "inactive": pair("inactive_split_bytes"),
        "events": {"retries": stats.get("num_alloc_retries", 0), "oom": stats.get("num_ooms", 0)},
    }
