"""Reads weight files: tensors, headers and pickled objects; every weight file is opened here and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipelines.checkpoints.pickles import TensorHeader, read_pickle, read_pickle_header
from schema.errors import CheckpointError

__all__ = ["FileHeader", "TensorHeader", "read_header", "read_pickle", "read_state_dict"]

# The limit of the safetensors library itself.
_MAX_HEADER_BYTES = 100_000_000

_WRAPPERS = ("state_dict", "params_ema", "params", "model", "depth_model")


@dataclass(frozen=True, kw_only=True)
class FileHeader:
    """The names, shapes and dtypes of a file's tensors.

    Attributes:
        metadata: The text entries of a safetensors file; empty for pickles.
    """

    tensors: Mapping[str, TensorHeader]
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors`, `.ckpt`, `.pt`, `.pth` or `.bin` file, on the CPU, by name.

    Safetensors and zipped pickles stay mapped, so that reading costs no memory until a tensor is used or converted.
    A `state_dict` (or upscalers' `params`) wrapper is taken off; entries that are no tensors are left out.

    Raises:
        UnsafePickle: If a pickle asks for more than tensors.
        CheckpointError: If the file is damaged, truncated or unreadable.
    """
    if path.suffix.casefold() == ".safetensors":
        _read_safetensors_header(path)
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"'{path.name}' cannot be read: {error}.") from error
    entries = _unwrapped(_opened(path, read_pickle))
    return {str(name): value.detach() for name, value in entries.items() if isinstance(value, Tensor)}


def read_header(path: Path) -> FileHeader:
    """The names, shapes and dtypes of a weight file's tensors, without reading tensor data.

    Raises:
        UnsafePickle: If a pickle asks for more than tensors.
        CheckpointError: If the file is damaged, truncated or unreadable.
    """
    if path.suffix.casefold() == ".safetensors":
        return _read_safetensors_header(path)
    tensors: dict[str, TensorHeader] = {}
    for name, value in _unwrapped(_opened(path, read_pickle_header)).items():
        if isinstance(value, TensorHeader):
            tensors[str(name)] = value
        elif isinstance(value, Mapping):
            # Embeddings keep their vectors one level down.
            inner = cast(Mapping[object, object], value)
            tensors |= {f"{name}.{key}": item for key, item in inner.items() if isinstance(item, TensorHeader)}
    return FileHeader(tensors=tensors)


def _opened(path: Path, read: Any) -> object:
    try:
        return read(path)
    except OSError as error:
        raise CheckpointError(f"'{path.name}' cannot be opened: {error.strerror or error}.") from error


def _unwrapped(content: object) -> Mapping[object, object]:
    """The mapping that holds the tensors; training checkpoints wrap it in `state_dict`, upscalers in `params`, depth
    networks in `model` or `depth_model`."""
    while isinstance(content, Mapping):
        entries = cast(Mapping[object, object], content)
        inner = next(
            (entries[key] for key in _WRAPPERS if isinstance(entries.get(key), Mapping)),
            None,
        )
        if inner is None:
            return entries
        content = inner
    return {}


def _read_safetensors_header(path: Path) -> FileHeader:
    """The header, after checking that the file is as long as the header says.

    Source: the format's description in the safetensors documentation: 8 bytes length, JSON, tensor bytes.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _MAX_HEADER_BYTES):
                raise CheckpointError(_damaged(path, size))
            text = file.read(length)
    except OSError as error:
        raise CheckpointError(f"'{path.name}' cannot be opened: {error.strerror or error}.") from error
    try:
        entries: dict[str, Any] = json.loads(text)
        metadata = {str(key): str(value) for key, value in (entries.pop("__metadata__", None) or {}).items()}
        tensors = {
            name: TensorHeader(shape=tuple(map(int, entry["shape"])), dtype=str(entry["dtype"]))
            for name, entry in entries.items()
        }
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise CheckpointError(_damaged(path, size)) from error
    if size < 8 + length + end:
        raise CheckpointError(
            f"'{path.name}' is truncated: {size} of {8 + length + end} bytes are there. Download or copy it again."
        )
    return FileHeader(tensors=tensors, metadata=metadata)


def _damaged(path: Path, size: int) -> str:
    if size == 0:
        return f"'{path.name}' is empty. Download or copy it again."
    return f"'{path.name}' is damaged: it has no readable safetensors header. Download or copy it again."
