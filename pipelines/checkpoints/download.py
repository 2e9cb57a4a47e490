"""Models that can be fetched from the Hugging Face hub, and fetching them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.registry import Registry
from schema.errors import DownloadError

_PROGRAM = "pipelines.checkpoints.fetch"
_ROOT = Path(__file__).resolve().parents[2]
_RAIL = "CreativeML OpenRAIL-M"
_RAIL_XL = "CreativeML OpenRAIL++-M"


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file on the hub.

    Attributes:
        name: What the page calls it.
        size_bytes: For the page; the server's own figure counts when downloading.
        sha256: Hex digest the file must have; None takes the one the server states.
        folder: Below `models/`.
    """

    name: str
    repo: str
    file: str
    size_bytes: int
    licence: str
    sha256: str | None = None
    folder: str = "Stable-diffusion"
    aliases: tuple[str, ...] = ()


DOWNLOADS = Registry(
    "Download",
    (
        Download(
            name="Stable Diffusion 1.5",
            repo="stable-diffusion-v1-5/stable-diffusion-v1-5",
            file="v1-5-pruned-emaonly.safetensors",
            size_bytes=4_265_146_304,
            sha256="6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa",
            licence=_RAIL,
        ),
        Download(
            name="Stable Diffusion 1.5 inpainting",
            repo="stable-diffusion-v1-5/stable-diffusion-inpainting",
            file="sd-v1-5-inpainting.ckpt",
            size_bytes=4_265_437_280,
            sha256="c6bbc15e3224e6973459ba78de4998b80b50112b0ae5b5c67113d56b4e366b19",
            licence=_RAIL,
        ),
        Download(
            name="Stable Diffusion XL base 1.0",
            repo="stabilityai/stable-diffusion-xl-base-1.0",
            file="sd_xl_base_1.0.safetensors",
            size_bytes=6_938_078_334,
            sha256="31e35c80fc4829d14f90153f4c74cd59c90b779f6afe05a74cd6120b893f7e5b",
            licence=_RAIL_XL,
        ),
        Download(
            name="Stable Diffusion XL refiner 1.0",
            repo="stabilityai/stable-diffusion-xl-refiner-1.0",
            file="sd_xl_refiner_1.0.safetensors",
            size_bytes=6_075_981_930,
            sha256="7440042bbdc8a24813002c09b6b69b64dc90fded4472613437b7f55f9b7d9c5f",
            licence=_RAIL_XL,
        ),
        Download(
            name="VAE for Stable Diffusion 1.x (ft-MSE)",
            repo="stabilityai/sd-vae-ft-mse-original",
            file="vae-ft-mse-840000-ema-pruned.safetensors",
            size_bytes=334_641_190,
            sha256="735e4c3a447a3255760d7f86845f09f937809baa529c17370d83e4c3758f3c75",
            licence="MIT",
            folder="VAE",
        ),
        Download(
            name="VAE for SDXL that runs in half precision",
            repo="madebyollin/sdxl-vae-fp16-fix",
            file="sdxl_vae.safetensors",
            size_bytes=334_641_162,
            sha256="235745af8d86bf4a4c1b5b4f529868b37019a10f7c0b2e79ad0abca3a22bc6e1",
            licence="MIT",
            folder="VAE",
        ),
    ),
)


def download(
    item: Download,
    models: Path,
    *,
    endpoint: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    cancel: threading.Event | None = None,
) -> Path:
    """Fetches a file into its folder below `models`, continuing where an earlier attempt stopped.

    The file appears under its name only after its SHA-256 was found right. It is fetched by a process of its own
    (see `fetch.py`), so that this one never leaves its offline mode and a cancelled download stops at once.

    Args:
        models: The models folder.
        endpoint: The hub's address; None takes HF_ENDPOINT or the public hub.
        on_progress: Called with the bytes there and in all, about every percent.
        cancel: Stops the download when set; what has arrived is kept.

    Returns:
        Where the file is.

    Raises:
        DownloadError: If it failed, was cancelled, or there is no room; the message says which.
    """
    target = models / item.folder / Path(item.file).name
    wanted = {"repo": item.repo, "file": item.file, "sha256": item.sha256, "endpoint": endpoint, "target": str(target)}
    environment = {name: value for name, value in os.environ.items() if name != "TRANSFORMERS_OFFLINE"}
    environment |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", _PROGRAM],
        cwd=_ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        done = threading.Event()
        if cancel is not None:
            threading.Thread(target=_stop_when_set, args=(cancel, done, process), daemon=True).start()
        try:
            return Path(_result(process, json.dumps(wanted), on_progress))
        except BrokenPipeError as error:
            raise DownloadError(f"The download of {item.name} could not be started.") from error
        except EOFError as error:
            why = "was cancelled; what has arrived is kept" if cancel and cancel.is_set() else "stopped unexpectedly"
            raise DownloadError(f"The download of {item.name} {why}.") from error
        finally:
            done.set()
            process.kill()


def _result(process: subprocess.Popen[str], wanted: str, on_progress: Callable[[int, int], None] | None) -> str:
    assert process.stdin and process.stdout
    process.stdin.write(wanted)
    process.stdin.close()
    for line in process.stdout:
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            raise DownloadError(message["error"])
        if "path" in message:
            return message["path"]
        if on_progress:
            on_progress(int(message["done"]), int(message["total"]))
    raise EOFError


def _stop_when_set(cancel: threading.Event, done: threading.Event, process: subprocess.Popen[str]) -> None:
    while not done.is_set():
        if cancel.wait(0.1):
            process.kill()
            return
