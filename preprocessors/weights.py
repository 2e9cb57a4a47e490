"""Weight files of preprocessors: what is wanted, where it is, and the networks made of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from preprocessors.providers import quiet
from schema.errors import CheckpointError, WeightsMissing

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """A file that a preprocessor's networks are read from.

    Attributes:
        folder: Below the preprocessors' models folder; the names are those of the ControlNet extension.
        name: The file's own name there; may hold a sub-folder.
        repo: Its repository on the Hugging Face hub; empty for a file that ships with the program.
        file: Its path in that repository; `name` where empty.
        size_bytes: For tables; 0 where not known. The server's own figure counts when fetching.
        sha256: Hex digest; None takes the one the server states.
        licence: As its authors name it.
    """

    folder: str
    name: str
    repo: str
    licence: str
    file: str = ""
    size_bytes: int = 0
    sha256: str | None = None

    @property
    def place(self) -> str:
        """Where it belongs below the preprocessors' models folder."""
        return f"{self.folder}/{self.name}"

    @property
    def url(self) -> str:
        """Where it can be fetched, or empty."""
        return f"https://huggingface.co/{self.repo}/resolve/main/{self.file or self.name}" if self.repo else ""


Download = Callable[[WeightFile, Path], Path]
"""Fetches a file to the given path with its hash checked, and returns the path."""


@dataclass(frozen=True, kw_only=True)
class WeightStore:
    """The folders that hold weights, and how to read and fetch them.

    Attributes:
        roots: Searched in order; the first is where new files go. A1111's `annotator/downloads` fits as one.
        read: Reads the tensors of a weight file safely.
        download: Fetches a missing file; None where nothing may be fetched.
    """

    roots: tuple[Path, ...]
    read: Callable[[Path], dict[str, Tensor]]
    download: Download | None = None

    def find(self, file: WeightFile) -> Path | None:
        """Where `file` lies, or None: in its folder, or directly in a root."""
        for root in self.roots:
            for place in (root / file.place, root / Path(file.name).name):
                if place.is_file():
                    return place
        return None

    def missing(self, files: Iterable[WeightFile]) -> list[WeightFile]:
        """Those of `files` that are not here."""
        return [file for file in files if self.find(file) is None]

    def paths(self, files: Iterable[WeightFile]) -> list[Path]:
        """Where `files` lie; what is missing is fetched first.

        Raises:
            WeightsMissing: If some are not here and cannot be fetched; the message lists them.
            DownloadError: From fetching.
        """
        files = list(files)
        missing = self.missing(files)
        if missing and (self.download is None or not all(file.repo for file in missing)):
            raise WeightsMissing([(f"{self.roots[0].name}/{file.place}", file.url) for file in missing])
        for file in missing:
            assert self.download is not None
            self.download(file, self.roots[0] / file.place)
        found = [self.find(file) for file in files]
        assert all(found), "a fetched file is where it was asked for"
        return cast(list[Path], found)

    def tensors(self, files: Iterable[WeightFile]) -> list[dict[str, Tensor]]:
        """The tensors of each of `files`; raises as `paths` and `read` do."""
        return [self.read(path) for path in self.paths(files)]


@dataclass(kw_only=True)
class Runtime:
    """What preprocessors run on: weights, a device, and the networks kept from earlier runs.

    Attributes:
        keep: How many networks stay loaded; the longest unused goes first.
    """

    weights: WeightStore
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    keep: int = 3
    _networks: OrderedDict[object, nn.Module] = field(default_factory=OrderedDict[object, nn.Module], init=False)

    def network(self, key: object, files: Iterable[WeightFile], build: Callable[..., Network]) -> Network:
        """The network called `key`, made by `build` on first use: in evaluation mode, on the device.

        Args:
            build: Called with the tensors of each file, in order; returns the network with these loaded.

        Raises:
            WeightsMissing: As `WeightStore.paths`.
            CheckpointError: If a file does not hold this network.
        """

        def make() -> Network:
            wanted = list(files)
            with loading(wanted), quiet():
                return build(*self.weights.tensors(wanted))

        return self.kept(key, make)

    def kept(self, key: object, make: Callable[[], Network]) -> Network:
        """The network called `key`, made by `make` on first use: in evaluation mode, on the device."""
        if key not in self._networks:
            self._networks[key] = make().requires_grad_(False).eval()
        self._networks.move_to_end(key)
        while len(self._networks) > max(1, self.keep):
            self._networks.popitem(last=False)
        return cast(Network, self._networks[key].to(self.device))

    def clear(self) -> None:
        """Forgets all networks, so that their memory is returned."""
        self._networks.clear()

    def __len__(self) -> int:
        return len(self._networks)


@contextmanager
def loading(files: Iterable[WeightFile]) -> Generator[None]:
    """Turns tensors that do not fit a network into an error that names the files.

    Raises:
        CheckpointError: Where names or shapes differ.
    """
    try:
        yield
    except (RuntimeError, KeyError) as error:
        names = ", ".join(f"'{file.name}'" for file in files)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{names}: the file does not hold the expected network ({reason}).") from error


def without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """`tensors` with `prefix` taken off the names that have it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
