"""Reads PyTorch pickles with an unpickler that can build tensors and plain values, and nothing else."""

from __future__ import annotations

import codecs
import importlib
import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import numpy
import torch
from torch import Tensor

from schema.errors import CheckpointError, UnsafePickle

# Everything a damaged file makes torch, zipfile or pickle raise.
DAMAGED = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    AssertionError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    MemoryError,
)

# Members that torch.save writes. A TorchScript archive (`code/`, `constants.pkl`) would run its own code.
_ARCHIVE_MEMBER = re.compile(
    r"(?:[^/]+/)?(?:data\.pkl|version|byteorder|\.format_version|\.storage_alignment"
    r"|(?:\.data/|archive/)?\.?(?:data/)?serialization_id|data/[^/]+|checkpoint\.pt)"
)

# Training state that checkpoints drag along; its classes are never imported, stand-ins swallow their state.
_IGNORED_MODULES = ("pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities", "omegaconf")
_IGNORED_NAMES = frozenset(
    {("argparse", "Namespace"), ("typing", "Any"), ("pathlib", "PosixPath"), ("pathlib", "WindowsPath")}
)

_WHY = {
    "os": "it can run programs",
    "posix": "it can run programs",
    "nt": "it can run programs",
    "subprocess": "it can run programs",
    "builtins": "it can run any code",
    "__builtin__": "it can run any code",
    "runpy": "it can run any code",
    "importlib": "it can run any code",
    "socket": "it can reach the network",
    "shutil": "it can delete files",
}


@dataclass(frozen=True, kw_only=True)
class TensorHeader:
    """What a file says about a tensor without reading it.

    Attributes:
        dtype: Name as in safetensors: F16, BF16, F32, I64, …
    """

    shape: tuple[int, ...]
    dtype: str


class _Ignored:
    """Stand-in for an object that is not a tensor: takes any arguments and state and keeps nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, value: object) -> None: ...

    def extend(self, values: object) -> None: ...


class _ParameterDict(dict[str, object]):
    """Stand-in for `torch.nn.ParameterDict`: textual inversion files hold their vectors in one."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.update(state.get("_parameters", {}))


def _parameter(data: Tensor, requires_grad: bool = False, backward_hooks: object = None) -> Tensor:
    return data


def _numpy_names() -> dict[tuple[str, str], object]:
    multiarray = importlib.import_module("numpy._core.multiarray")
    reconstruct, scalar = multiarray._reconstruct, multiarray.scalar
    names: dict[tuple[str, str], object] = {("numpy", "dtype"): numpy.dtype, ("numpy", "ndarray"): numpy.ndarray}
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        names |= {(module, "_reconstruct"): reconstruct, (module, "scalar"): scalar}
    return names


def _allowed_names() -> dict[tuple[str, str], object]:
    """Global names a model pickle may use, with what they become.

    Source: A1111 modules/safe.py, RestrictedUnpickler, with stand-ins instead of foreign classes.
    """
    allowed = _numpy_names()
    allowed |= {
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): codecs.encode,
        ("torch", "Size"): torch.Size,
        ("torch", "device"): torch.device,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        ("torch.nn.parameter", "Parameter"): _parameter,
        ("torch.nn.modules.container", "ParameterDict"): _ParameterDict,
    }
    rebuilders = importlib.import_module("torch._utils")
    for name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
        allowed["torch._utils", name] = getattr(rebuilders, name)
    for module in ("builtins", "__builtin__"):
        allowed |= {(module, "set"): set, (module, "frozenset"): frozenset, (module, "bytearray"): bytearray}
    for name, value in vars(torch).items():
        if isinstance(value, torch.dtype) or (name.endswith("Storage") and isinstance(value, type)):
            allowed["torch", name] = value
    allowed["torch.storage", "UntypedStorage"] = torch.UntypedStorage
    allowed["torch.storage", "TypedStorage"] = torch.storage.TypedStorage
    return allowed


_ALLOWED = _allowed_names()


def _find(module: str, name: str) -> object:
    if (module, name) in _ALLOWED:
        return _ALLOWED[module, name]
    root = module.partition(".")[0]
    if root in _IGNORED_MODULES or (module, name) in _IGNORED_NAMES:
        return _Ignored
    why = _WHY.get(root, "it is not part of a model's weights")
    raise UnsafePickle(f"The file asks for '{module}.{name}': {why}. It was not opened.")


class _TensorUnpickler(pickle.Unpickler):
    """Builds real tensors; torch supplies their storages."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        return _find(module_name, global_name)


def _load(file: IO[bytes], **kwargs: Any) -> object:
    return _TensorUnpickler(file, **kwargs).load()


_PICKLE_MODULE = SimpleNamespace(__name__="restricted_pickle", Unpickler=_TensorUnpickler, load=_load)


_STORAGE_DTYPES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}


def _tensor_header(dtype: str, offset: int, size: tuple[int, ...], *rest: object) -> TensorHeader:
    return TensorHeader(shape=tuple(size), dtype=dtype)


class _HeaderUnpickler(pickle.Unpickler):
    """Builds `TensorHeader`s in place of tensors, so that no storage is read."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if module_name == "torch._utils" and global_name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return _tensor_header
        return _find(module_name, global_name)

    def persistent_load(self, pid: Any, /) -> str:
        """The dtype of a storage; what stands for it in the file is ("storage", class, key, device, length)."""
        name = getattr(pid[1], "__name__", "")
        return _STORAGE_DTYPES.get(name, name)


def _check_archive(path: Path) -> str:
    """The name of the archive's pickle, after checking that its members are those torch.save writes."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    for name in names:
        if not _ARCHIVE_MEMBER.fullmatch(name):
            raise UnsafePickle(f"'{path.name}' holds '{name}', which is no part of saved tensors. It was not opened.")
    pickles = [name for name in names if name.endswith("data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError(f"'{path.name}' is damaged: it holds {len(pickles)} pickles where one belongs.")
    return pickles[0]


def _checked(path: Path, read: Callable[[Path], object]) -> object:
    try:
        return read(path)
    except UnsafePickle as error:
        raise UnsafePickle(f"'{path.name}' is refused. {error} Take a .safetensors file instead.") from None
    except DAMAGED as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"'{path.name}' is damaged or no PyTorch file ({reason}).") from error


def read_pickle(path: Path) -> object:
    """The object in a `.ckpt`, `.pt`, `.pth` or `.bin` file, its tensors on the CPU.

    Zip files written by `torch.save` stay mapped: a tensor's bytes are read when they are used.

    Raises:
        UnsafePickle: If the pickle names anything but tensors, plain values and known training leftovers.
        CheckpointError: If the file is damaged.
        FileNotFoundError: If there is no such file.

    Source: A1111 modules/safe.py, load_with_extra.
    """

    def read(path: Path) -> object:
        is_zip = zipfile.is_zipfile(path)
        if is_zip:
            _check_archive(path)
        elif not _starts_like_a_pickle(path):
            raise ValueError("unknown file type")
        return torch.load(  # noqa: TID251 - the one place that may: every global goes through `_find`
            path, map_location="cpu", pickle_module=_PICKLE_MODULE, weights_only=False, mmap=is_zip
        )

    return _checked(path, read)


def read_pickle_header(path: Path) -> object:
    """As `read_pickle`, with a `TensorHeader` in place of every tensor and no tensor data read."""

    def read(path: Path) -> object:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _HeaderUnpickler(io.BytesIO(archive.read(_check_archive(path)))).load()
        if not _starts_like_a_pickle(path):
            raise ValueError("unknown file type")
        with path.open("rb") as file:
            # Before 1.6 torch.save wrote a magic number, a version and system facts, then the object.
            for _ in range(3):
                _HeaderUnpickler(file).load()
            return _HeaderUnpickler(file).load()

    return _checked(path, read)


def _starts_like_a_pickle(path: Path) -> bool:
    """Whether the file is the pre-1.6 format (pickle protocol 2); torch's older tar format is not read."""
    with path.open("rb") as file:
        return file.read(2) == b"\x80\x02"
