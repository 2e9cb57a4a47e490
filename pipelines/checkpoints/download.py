"""Models that can be fetched from the Hugging Face hub or where their authors publish them, and fetching them."""

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
_FACEXLIB = "https://github.com/xinntao/facexlib/releases/download"


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file on the hub, or at an address of its own.

    Attributes:
        name: What the page calls it.
        repo: On the hub; empty for a file with a `url`.
        file: Its path there; its last part is its name here.
        size_bytes: For the page; the hub's own figure counts when downloading from there.
        sha256: Hex digest the file must have; None takes the one the hub states. A file with a `url` must have it.
        folder: Below `models/`.
        url: Where it is published outside the hub.
    """

    name: str
    repo: str
    file: str
    size_bytes: int
    licence: str
    sha256: str | None = None
    folder: str = "Stable-diffusion"
    url: str | None = None
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
        Download(
            name="Face detector (for GFPGAN and CodeFormer)",
            repo="",
            file="detection_Resnet50_Final.pth",
            url=f"{_FACEXLIB}/v0.1.0/detection_Resnet50_Final.pth",
            size_bytes=109_497_761,
            sha256="6d1de9c2944f2ccddca5f5e010ea5ae64a39845a86311af6fdf30841b0a5a16d",
            licence="MIT",
            folder="GFPGAN",
        ),
        Download(
            name="Face outlines (for GFPGAN and CodeFormer, optional)",
            repo="",
            file="parsing_parsenet.pth",
            url=f"{_FACEXLIB}/v0.2.2/parsing_parsenet.pth",
            size_bytes=85_331_193,
            sha256="3d558d8d0e42c20224f13cf5a29c79eba2d59913419f945545d8cf7b72920de2",
            licence="published with facexlib (Apache-2.0), trained by the authors of PSFRGAN (CC BY-NC-SA 4.0)",
            folder="GFPGAN",
        ),
        Download(
            name="GFPGAN 1.4",
            repo="",
            file="GFPGANv1.4.pth",
            url="https://github.com/TencentARC/GFPGAN/releases/download/v1.3.0/GFPGANv1.4.pth",
            size_bytes=348_632_874,
            sha256="e2cd4703ab14f4d01fd1383a8a8b266f9a5833dacee8e6a79d3bf21a1b6be5ad",
            licence="Apache-2.0",
            folder="GFPGAN",
        ),
        Download(
            name="CodeFormer 0.1.0",
            repo="",
            file="codeformer-v0.1.0.pth",
            url="https://github.com/sczhou/CodeFormer/releases/download/v0.1.0/codeformer.pth",
            size_bytes=376_637_898,
            sha256="1009e537e0c2a07d4cabce6355f53cb66767cd4b4297ec7a4a64ca4b8a5684b7",
            licence="S-Lab License 1.0: not for commercial use",
            folder="Codeformer",
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
    if item.url is not None:
        wanted |= {"url": item.url, "size": str(item.size_bytes)}
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
