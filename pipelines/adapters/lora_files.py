"""LoRA files on disk: names, aliases, hashes, metadata, and their tensors by layer."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from pipelines.adapters.extra_networks import LoraSpec
from pipelines.adapters.key_maps import split_key
from pipelines.checkpoints.files import read_header, read_state_dict
from pipelines.conditioning.embeddings import Embedding, embedding_tensors
from schema.errors import WebuiError

_SUFFIXES = (".safetensors", ".pt", ".ckpt")
_BUNDLED = "bundle_emb"
_READ_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class LoraFile:
    """A LoRA-family file.

    Attributes:
        name: File name without ending.
        alias: The name it was trained under (`ss_output_name`), else `name`.
        metadata: Text entries of a safetensors header.
        stamp: Modification time (ns) and size, which change with the content.
    """

    path: Path
    name: str
    alias: str
    metadata: Mapping[str, str] = field(default_factory=dict[str, str], hash=False, compare=False)
    stamp: tuple[int, int] = (0, 0)


def lora_hash(path: Path) -> str:
    """sha256 hex digest of a LoRA file as kohya's trainer computes it: without the header of a safetensors file.

    Source: A1111 modules/hashes.py, addnet_hash_safetensors.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if path.suffix.casefold() == ".safetensors":
            file.seek(8 + int.from_bytes(file.read(8), "little"))
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class LoraTensors:
    """The tensors of a LoRA file.

    Attributes:
        layers: Kohya's name of the layer → the rest of the tensor's name → tensor.
        embeddings: Textual inversion embeddings bundled with it, named after their file by `hash`.
    """

    layers: Mapping[str, Mapping[str, Tensor]]
    embeddings: tuple[Embedding, ...] = ()


def read_lora(file: LoraFile) -> LoraTensors:
    """The tensors of a file, grouped by layer, on the CPU.

    Raises:
        CheckpointError: If the file cannot be read.

    Source: A1111 extensions-builtin/Lora/networks.py, load_network.
    """
    layers: dict[str, dict[str, Tensor]] = {}
    bundled: dict[str, dict[str, object]] = {}
    for name, tensor in read_state_dict(file.path).items():
        key, part = split_key(name)
        if key != _BUNDLED:
            layers.setdefault(key, {})[part] = tensor
            continue
        embedding, _, entry = part.partition(".")
        content = bundled.setdefault(embedding, {})
        if entry.startswith("string_to_param."):
            content["string_to_param"] = {entry: tensor}
        else:
            content[entry] = tensor
    embeddings = tuple(
        Embedding(name=name, tensors=embedding_tensors(content, file.path.name), hash=file.name, path=file.path)
        for name, content in bundled.items()
    )
    return LoraTensors(layers=layers, embeddings=embeddings)


@dataclass(frozen=True, kw_only=True)
class ActiveLora:
    """A LoRA to apply: what the prompt asks for, and the file that is."""

    spec: LoraSpec
    file: LoraFile


class LoraLibrary:
    """The LoRA-family files in some folders, by name and alias.

    Args:
        folders: Searched with their sub-folders, links followed.
        kept: How many files' tensors stay in memory (A1111's `lora_in_memory_limit` plus those in use).
    """

    def __init__(self, folders: Sequence[Path], *, kept: int = 2) -> None:
        self.folders = tuple(folders)
        self.kept = kept
        self.problems: dict[Path, str] = {}
        self._files: dict[str, LoraFile] = {}
        self._aliases: dict[str, LoraFile] = {}
        self._ambiguous: set[str] = set()
        self._tensors: OrderedDict[LoraFile, LoraTensors] = OrderedDict()
        self._hashes: dict[LoraFile, str] = {}

    @property
    def files(self) -> list[LoraFile]:
        """All files, in the order of their names."""
        return sorted(self._files.values(), key=lambda file: file.name.casefold())

    def scan(self) -> None:
        """Lists the folders again; an alias that two files share counts for neither.

        Source: A1111 extensions-builtin/Lora/networks.py, list_available_networks.
        """
        self._files, self._aliases, self.problems = {}, {}, {}
        # Names that A1111 reserves: its dropdown's "None", and an extension's.
        self._ambiguous = {"none", "addams"}
        for path in _lora_paths(self.folders):
            try:
                file = _describe(path)
            except WebuiError as error:
                self.problems[path] = str(error)
                continue
            if file.alias in self._aliases:
                self._ambiguous.add(file.alias.casefold())
            self._files[file.name] = file
            self._aliases[file.name] = file
            self._aliases[file.alias] = file

    def find(self, name: str) -> LoraFile | None:
        """The file with this name or alias; folders are listed again if there is none."""
        file = self._lookup(name)
        if file is None:
            self.scan()
            file = self._lookup(name)
        return file

    def _lookup(self, name: str) -> LoraFile | None:
        return (self._files if name.casefold() in self._ambiguous else self._aliases).get(name)

    def resolve(self, specs: Iterable[LoraSpec]) -> tuple[tuple[ActiveLora, ...], tuple[str, ...]]:
        """The LoRAs that exist, in order, and a comment for those that do not; a missing one stops no job."""
        found: list[ActiveLora] = []
        missing: list[str] = []
        for spec in specs:
            file = self.find(spec.name)
            if file is None:
                missing.append(spec.name)
            else:
                found.append(ActiveLora(spec=spec, file=file))
        return tuple(found), (f"Networks not found: {', '.join(missing)}",) if missing else ()

    def tensors(self, file: LoraFile) -> LoraTensors:
        """The tensors of a file; the most recently used ones stay in memory.

        Raises:
            CheckpointError: If the file cannot be read.
        """
        if file not in self._tensors:
            self._tensors[file] = read_lora(file)
            while len(self._tensors) > max(1, self.kept):
                self._tensors.popitem(last=False)
        self._tensors.move_to_end(file)
        return self._tensors[file]

    def short_hash(self, file: LoraFile) -> str:
        """12 hex digits: of the hash its trainer wrote into the file (`sshs_model_hash`), else of `lora_hash`."""
        if file not in self._hashes:
            self._hashes[file] = file.metadata.get("sshs_model_hash") or lora_hash(file.path)
        return self._hashes[file][:12]

    def hashes_infotext(self, active: Iterable[ActiveLora]) -> str:
        """The value of infotext's "Lora hashes": `name: hash` per LoRA, names as in the prompt; empty without any.

        Source: A1111 extensions-builtin/Lora/extra_networks_lora.py, ExtraNetworkLora.activate.
        """
        hashes = {lora.spec.name.replace(":", "").replace(",", ""): self.short_hash(lora.file) for lora in active}
        return ", ".join(f"{name}: {digest}" for name, digest in hashes.items())


def _lora_paths(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        for root, _, names in os.walk(folder, followlinks=True):
            for name in sorted(names, key=str.casefold):
                path = Path(root, name)
                if path.suffix.casefold() in _SUFFIXES and path.is_file():
                    yield path


def _describe(path: Path) -> LoraFile:
    metadata = dict(read_header(path).metadata) if path.suffix.casefold() == ".safetensors" else {}
    stat = path.stat()
    return LoraFile(
        path=path,
        name=path.stem,
        alias=metadata.get("ss_output_name") or path.stem,
        metadata=metadata,
        stamp=(stat.st_mtime_ns, stat.st_size),
    )
