"""The upscaler list: the three without a model, then the files found, sorted by name."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from pipelines.registry import Registry
from pipelines.upscalers.base import Upscaler
from pipelines.upscalers.resample import RESAMPLERS
from pipelines.upscalers.spandrel import TILE, TILE_OVERLAP, FileUpscaler
from schema.errors import NotFound

ENDINGS = (".pth", ".pt", ".safetensors", ".ckpt", ".bin")

KNOWN_FILES = {
    "R-ESRGAN General 4xV3": "RealESRGAN/realesr-general-x4v3.pth",
    "R-ESRGAN General WDN 4xV3": "RealESRGAN/realesr-general-wdn-x4v3.pth",
    "R-ESRGAN AnimeVideo": "RealESRGAN/realesr-animevideov3.pth",
    "R-ESRGAN 4x+": "RealESRGAN/RealESRGAN_x4plus.pth",
    "R-ESRGAN 4x+ Anime6B": "RealESRGAN/RealESRGAN_x4plus_anime_6B.pth",
    "R-ESRGAN 2x+": "RealESRGAN/RealESRGAN_x2plus.pth",
    "DAT x2": "DAT/DAT_x2.pth",
    "DAT x3": "DAT/DAT_x3.pth",
    "DAT x4": "DAT/DAT_x4.pth",
    "ESRGAN_4x": "ESRGAN/ESRGAN.pth",
    "ScuNET GAN": "ScuNET/scunet_color_real_gan.pth",
    "ScuNET PSNR": "ScuNET/scunet_color_real_psnr.pth",
    "SwinIR 4x": "SwinIR/003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN.pth",
}
"""Names under which A1111 offers well-known files, with the place of the file in the models folder."""

_NAME_OF_STEM = {Path(file).stem.casefold(): name for name, file in KNOWN_FILES.items()}


def scan_upscalers(
    folders: Sequence[Path],
    *,
    device: torch.device,
    half: bool = False,
    tile: int = TILE,
    overlap: int = TILE_OVERLAP,
) -> Registry[Upscaler]:
    """None, Lanczos and Nearest, then the files in `folders`, sorted by name without regard to case.

    Args:
        folders: Searched with all levels below them; missing ones are skipped.
        tile: Side of the tiles in pixels, 0 for none.
        overlap: Pixels neighbouring tiles share.

    Source: A1111 modules/modelloader.py, load_upscalers; modules/esrgan_model.py and its siblings.
    """
    registry: Registry[Upscaler] = Registry("Upscaler", RESAMPLERS)
    found = sorted(_files(folders), key=lambda path: (display_name(path).casefold(), str(path)))
    for path in found:
        name = display_name(path)
        if registry.find(name) is not None:
            continue
        aliases = (path.stem,) if path.stem.casefold() != name.casefold() and registry.find(path.stem) is None else ()
        registry.add(
            FileUpscaler(name=name, path=path, aliases=aliases, device=device, half=half, tile=tile, overlap=overlap)
        )
    return registry


def display_name(path: Path) -> str:
    """A1111's name of a well-known file, else the file name without its ending."""
    return _NAME_OF_STEM.get(path.stem.casefold(), path.stem)


def find_upscaler(upscalers: Registry[Upscaler], name: str) -> Upscaler:
    """The upscaler called `name`.

    Raises:
        NotFound: If A1111 knows the name and its file is missing; the message says where to put it.
        UnknownName: If the name is not known at all.
    """
    known = {key.casefold(): file for key, file in KNOWN_FILES.items()}.get(name.strip().casefold())
    if known is not None and upscalers.find(name) is None:
        raise NotFound(f"Upscaler '{name}' needs its file: put it into models/{known} and refresh the list.")
    return upscalers.get(name)


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.suffix.casefold() in ENDINGS and path.is_file() and path.resolve() not in seen:
                seen.add(path.resolve())
                yield path
