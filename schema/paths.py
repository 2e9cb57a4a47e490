"""Where everything lies, and the one check that every path named by a user or request goes through."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from schema.errors import ForbiddenPath

if TYPE_CHECKING:
    from schema.flags import Flags

PROGRAM_DIR = Path(__file__).resolve().parent.parent
"""The folder of the program itself: the shipped model and `app.py` lie here."""

# Windows opens these as devices whatever folder they are in and whatever ending they have; refused everywhere so
# that a folder of pictures can be moved between systems.
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Paths:
    """The folders and files of one installation, all absolute.

    Folders that may be given more than once are tuples, searched in order; the first is where new files go.

    Attributes:
        data_dir: What the program may write to; the program's own folder unless `--data-dir` says otherwise.
        models_dir: Parent of the model folders, named as in A1111.
        annotators: Weights of ControlNet preprocessors.
        outputs: Parent of `txt2img-images` and the other picture folders.
        saved: Where the gallery's Save button puts copies.
        cache: Hashes, thumbnails, uploads; may be deleted at any time.
        params_file: Infotext of the last generation, for the paste button.
    """

    data_dir: Path
    models_dir: Path
    checkpoints: tuple[Path, ...]
    vae: tuple[Path, ...]
    loras: tuple[Path, ...]
    embeddings: tuple[Path, ...]
    upscalers: tuple[Path, ...]
    controlnet: tuple[Path, ...]
    annotators: tuple[Path, ...]
    faces: tuple[Path, ...]
    localizations: tuple[Path, ...]
    text_encoders: tuple[Path, ...]
    outputs: Path
    saved: Path
    cache: Path
    settings_file: Path
    ui_config_file: Path
    styles_file: Path
    params_file: Path

    @classmethod
    def from_flags(cls, flags: Flags) -> Paths:
        """The layout that the folder flags ask for; nothing is created."""
        data = (flags.data_dir or PROGRAM_DIR).absolute()
        models = (flags.models_dir or data / "models").absolute()
        shipped = PROGRAM_DIR / "models" / "Stable-diffusion"
        shipped_controls = PROGRAM_DIR / "models" / "ControlNet"

        def roots(*folders: Path | None) -> tuple[Path, ...]:
            return tuple(dict.fromkeys(folder.absolute() for folder in folders if folder is not None))

        return cls(
            data_dir=data,
            models_dir=models,
            checkpoints=roots(models / "Stable-diffusion", *flags.ckpt_dir, shipped),
            vae=roots(models / "VAE", flags.vae_dir),
            loras=roots(models / "Lora", models / "LyCORIS", flags.lora_dir),
            embeddings=roots(flags.embeddings_dir or data / "embeddings"),
            upscalers=roots(*(models / name for name in UPSCALER_FOLDERS), flags.upscaler_dir),
            controlnet=roots(models / "ControlNet", flags.controlnet_dir, shipped_controls),
            annotators=roots(
                flags.controlnet_preprocessor_models_dir or models / "ControlNetPreprocessor",
                PROGRAM_DIR / "models" / "ControlNetPreprocessor",
                # Where the ControlNet extension of A1111 keeps the same files.
                data / "extensions" / "sd-webui-controlnet" / "annotator" / "downloads",
            ),
            faces=roots(models / "GFPGAN", models / "Codeformer"),
            localizations=roots(data / "localizations", flags.localizations_dir),
            text_encoders=roots(models / "text_encoder", flags.text_encoder_dir),
            outputs=data / "outputs",
            saved=data / "log" / "images",
            cache=data / "cache",
            settings_file=(flags.ui_settings_file or data / "config.json").absolute(),
            ui_config_file=(flags.ui_config_file or data / "ui-config.json").absolute(),
            styles_file=(flags.styles_file or data / "styles.csv").absolute(),
            params_file=data / "params.txt",
        )

    @property
    def private_files(self) -> tuple[Path, ...]:
        """Files that are never served, even where they lie in a served folder."""
        return (self.settings_file, self.ui_config_file, self.styles_file, self.params_file)


UPSCALER_FOLDERS = ("ESRGAN", "RealESRGAN", "SwinIR", "DAT", "HAT", "BSRGAN", "ScuNET", "LDSR")
"""Sub-folders of `models/` that A1111 and its extensions keep upscalers in."""


def contained(path: str | os.PathLike[str], roots: Iterable[Path]) -> Path:
    """The real, absolute form of `path`, which need not exist; it lies in one of `roots` or is one.

    A relative path is taken from the first root. Symbolic links are followed before the comparison, in the roots
    too, so a link cannot lead out and a linked model folder still works.

    Raises:
        ForbiddenPath: If it lies elsewhere, is a device, or has a name that some system reserves.
    """
    text = os.fspath(path)
    real_roots = [Path(os.path.realpath(root)) for root in roots]
    if not text or not real_roots or any(ord(character) < 32 for character in text):
        raise ForbiddenPath(f"Path {text!r} cannot be used: it is empty or has control characters.")
    if text.startswith(("\\\\", "//")):
        raise ForbiddenPath(f"Path '{text}' cannot be used: it names another machine.")
    try:
        real = Path(os.path.realpath(real_roots[0] / text))
        mode = real.stat().st_mode if real.exists() else None
    except OSError as error:
        raise ForbiddenPath(f"Path '{text}' cannot be used: {error.strerror or error}.") from error
    root = next((root for root in real_roots if real.is_relative_to(root)), None)
    if root is None:
        raise ForbiddenPath(f"Path '{text}' lies outside the folders that may be used here.")
    reserved = next((part for part in real.relative_to(root).parts if is_reserved_name(part)), None)
    if reserved:
        raise ForbiddenPath(f"Path '{text}' cannot be used: '{reserved}' is a reserved name.")
    if mode is not None and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ForbiddenPath(f"Path '{text}' is neither a file nor a folder.")
    return real


def is_reserved_name(name: str, *, windows: bool = os.name == "nt") -> bool:
    """Whether `name` means a device (`NUL.png`), or on `windows` a stream (`a:b`) or another name (`x.`)."""
    odd = ":" in name or name != name.rstrip(". ")
    return bool(_RESERVED.fullmatch(name.strip())) or (windows and odd)
