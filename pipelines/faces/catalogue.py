"""The face restorers of an installation: what is in its folders, and for the others what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from pipelines.faces.base import FaceRestorer
from pipelines.faces.parsing import ParseNet
from pipelines.faces.restore import FaceNetwork, NetworkRestorer
from pipelines.faces.retinaface import RetinaFace
from pipelines.registry import Registry
from schema.errors import NotFound

DETECTOR_FILE, PARSER_FILE = "detection_Resnet50_Final.pth", "parsing_parsenet.pth"
ENDINGS = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True, kw_only=True)
class RestorerFiles:
    """What a restorer is made of.

    Attributes:
        folder: Below the models folder.
        file: Its published weights; any weight file in the folder whose name begins with `stem` does too.
        address: Where the weights are published.
    """

    name: str
    folder: str
    stem: str
    file: str
    address: str


GFPGAN = RestorerFiles(
    name="GFPGAN",
    folder="GFPGAN",
    stem="gfpgan",
    file="GFPGANv1.4.pth",
    address="https://github.com/TencentARC/GFPGAN/releases/download/v1.3.0/GFPGANv1.4.pth",
)
CODEFORMER = RestorerFiles(
    name="CodeFormer",
    folder="Codeformer",
    stem="codeformer",
    file="codeformer-v0.1.0.pth",
    address="https://github.com/sczhou/CodeFormer/releases/download/v0.1.0/codeformer.pth",
)
DETECTOR_ADDRESS = "https://github.com/xinntao/facexlib/releases/download/v0.1.0/detection_Resnet50_Final.pth"


@dataclass(kw_only=True)
class FoundRestorer:
    """A restorer that looks for its files each time it is used, so that a download needs no restart."""

    files: RestorerFiles
    folders: tuple[Path, ...]
    device: torch.device
    aliases: tuple[str, ...] = ()
    _made: NetworkRestorer | None = None
    _made_of: tuple[Path | None, ...] = ()

    @property
    def name(self) -> str:
        """As the lists show it."""
        return self.files.name

    def restore(self, image: Image.Image, weight: float) -> Image.Image:
        """`image` (RGB) with its faces restored, of the same size.

        Raises:
            NotFound: If a file is missing; the message says which, where it is published and where it belongs.
        """
        return self._restorer().restore(image, weight)

    def check(self) -> None:
        """Raises what `restore` would, without doing anything.

        Raises:
            NotFound: If a file is missing.
        """
        needed = (
            (self._weights(), self.files.file, self.files.address),
            (self._file(DETECTOR_FILE), DETECTOR_FILE, DETECTOR_ADDRESS),
        )
        for path, name, address in needed:
            if path is None:
                raise NotFound(
                    f"{self.name} cannot restore faces: {name} is missing. Get it under Settings, or put "
                    f"{address} into models/{self.files.folder} as {name}."
                )

    def unload(self) -> None:
        """Frees the networks; the next picture reads them again."""
        if self._made is not None:
            self._made.unload()

    def _restorer(self) -> NetworkRestorer:
        self.check()
        weights, detector, parser = self._weights(), self._file(DETECTOR_FILE), self._file(PARSER_FILE)
        assert weights is not None and detector is not None, "check() has seen both"
        if self._made is None or self._made_of != (weights, detector, parser):
            self._made = NetworkRestorer(
                name=self.name,
                run=FaceNetwork(path=weights, architecture=self.name, device=self.device),
                detector=RetinaFace(path=detector, device=self.device),
                parser=ParseNet(path=parser, device=self.device) if parser else None,
            )
            self._made_of = (weights, detector, parser)
        return self._made

    def _weights(self) -> Path | None:
        return self._file(self.files.file) or next(
            (
                path
                for folder in self.folders
                for path in (sorted(folder.iterdir()) if folder.is_dir() else ())
                if path.suffix.casefold() in ENDINGS and path.stem.casefold().startswith(self.files.stem)
            ),
            None,
        )

    def _file(self, name: str) -> Path | None:
        return next((folder / name for folder in self.folders if (folder / name).is_file()), None)


def scan_restorers(folders: Sequence[Path], *, device: torch.device) -> Registry[FaceRestorer]:
    """CodeFormer and GFPGAN, in A1111's order, with whatever weights are in `folders`; missing folders are empty."""
    found = [FoundRestorer(files=files, folders=tuple(folders), device=device) for files in (CODEFORMER, GFPGAN)]
    return Registry("Face restorer", tuple(found))


def find_detector(folders: Sequence[Path], *, device: torch.device) -> RetinaFace | None:
    """The face detector in `folders`, or None where its weights are missing."""
    path = next((folder / DETECTOR_FILE for folder in folders if (folder / DETECTOR_FILE).is_file()), None)
    return RetinaFace(path=path, device=device) if path else None
