"""Files of control models: the list by name and hash, and what each of them is."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipelines.checkpoints.files import TensorHeader, read_header
from pipelines.checkpoints.hashes import old_hash
from pipelines.checkpoints.layout import read_json, weight_files
from schema.controlnet import NO_MODEL
from schema.errors import CheckpointError, UnknownName

ENDINGS = (".pt", ".pth", ".ckpt", ".safetensors", ".bin")
_WITHOUT_MODELS = frozenset({"annotators", "annotator", "clip_vision"})
_HASH = re.compile(r"\s*\[[0-9a-f]{8}\]\s*$", re.IGNORECASE)


class ControlKind(StrEnum):
    """What a control model is, which decides how it acts."""

    CONTROLNET = "ControlNet"
    UNION = "ControlNet union"
    CONTROL_LORA = "Control-LoRA"
    T2I_ADAPTER = "T2I-Adapter"
    IP_ADAPTER = "IP-Adapter"


# (any of these texts begins a tensor name, why it cannot be used here)
_REFUSED: tuple[tuple[tuple[str, ...], str], ...] = (
    (("lllite_",), "a ControlNet-LLLite, which this program cannot use yet"),
    (("transformer_layes.0.attn.in_proj_weight", "ln_post.weight"), "a style T2I-Adapter, which cannot be used here"),
    (("motion_modules.", "controlnet_cond_embedding.conv_in.motion"), "a SparseCtrl, which cannot be used here"),
    (("pulid_ca.", "id_encoder."), "a PuLID model, which this program cannot use yet"),
    (("transformer_blocks.0.attn.add_q_proj", "controlnet_x_embedder."), "a ControlNet for Stable Diffusion 3 or Flux"),
)
_CLASSES = {
    "ControlNetModel": ControlKind.CONTROLNET,
    "ControlNetUnionModel": ControlKind.UNION,
    "T2IAdapter": ControlKind.T2I_ADAPTER,
}


@dataclass(frozen=True, kw_only=True)
class ControlFile:
    """One control model: a file, or a diffusers folder.

    Attributes:
        name: "stem [hash]", the hash being the first 8 digits of A1111's old model hash.
    """

    path: Path
    name: str

    @property
    def stem(self) -> str:
        """The name without its hash."""
        return self.path.name if self.path.is_dir() else self.path.stem

    @property
    def weights(self) -> Path:
        """The file that holds the tensors (the first of them where a folder is sharded).

        Raises:
            CheckpointError: If a folder holds none.
        """
        return weight_files(self.path)[0] if self.path.is_dir() else self.path


class ControlFileList:
    """The control models of some folders, by name.

    Args:
        roots: Searched with their sub-folders; of equal names the first counts.

    Source: sd-webui-controlnet scripts/global_state.py, update_cn_models.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(root.absolute() for root in roots)
        self._lock = threading.Lock()
        self._files: dict[str, ControlFile] | None = None

    def refresh(self) -> None:
        """Searches the folders again at the next look."""
        with self._lock:
            self._files = None

    @property
    def files(self) -> dict[str, ControlFile]:
        """Name → file, ordered by folder and name."""
        with self._lock:
            if self._files is None:
                self._files = {}
                for root in self._roots:
                    for path in sorted(_walk(root), key=lambda path: path.name.casefold()):
                        file = _file(path)
                        self._files.setdefault(file.name, file)
            return self._files

    @property
    def names(self) -> list[str]:
        """The names, "None" not among them."""
        return list(self.files)

    def get(self, name: str) -> ControlFile | None:
        """The file called `name`: exactly, by the name without its hash, or the shortest that holds the text.

        None for "None".

        Raises:
            UnknownName: If there is none.

        Source: sd-webui-controlnet scripts/controlnet.py, find_closest_lora_model_name and get_module_basename.
        """
        if name.strip() in ("", NO_MODEL, NO_MODEL.lower()):
            return None
        files = self.files
        if name in files:
            return files[name]
        wanted = _HASH.sub("", name).strip().casefold()
        by_stem = next((file for file in files.values() if file.stem.casefold() == wanted), None)
        if by_stem is not None:
            return by_stem
        holding = [file for file in files.values() if wanted and wanted in file.name.casefold()]
        if not holding:
            raise UnknownName("ControlNet model", name, files or [NO_MODEL])
        return min(holding, key=lambda file: len(file.name))


def _walk(root: Path) -> Iterator[Path]:
    """Control model files and folders below `root`."""
    if not root.is_dir():
        return
    for entry in sorted(root.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if _is_model_folder(entry):
                yield entry
            elif entry.name.casefold() not in _WITHOUT_MODELS:
                yield from _walk(entry)
        elif entry.suffix.casefold() in ENDINGS:
            yield entry


def _is_model_folder(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("diffusion_pytorch_model*"))


def _file(path: Path) -> ControlFile:
    file = ControlFile(path=path, name="")
    try:
        digest = old_hash(file.weights)
    except CheckpointError:
        digest = "NOFILE"
    return ControlFile(path=path, name=f"{file.stem} [{digest}]")


def detect_control(tensors: Mapping[str, TensorHeader], name: str) -> ControlKind:
    """What a file with these tensors is.

    Raises:
        CheckpointError: If it is no control model that can be used here; the message says what it is.
    """
    keys = [key.removeprefix("module.") for key in tensors]
    bare = [key.removeprefix("control_model.").removeprefix("adapter.") for key in keys]
    is_ldm = any(key.startswith("zero_convs.") for key in bare)
    if "lora_controlnet" in bare or (is_ldm and _has_low_rank(bare)):
        return ControlKind.CONTROL_LORA
    if "task_embedding" in bare:
        return ControlKind.UNION
    if any(key.startswith(("zero_convs.", "controlnet_cond_embedding.", "controlnet_down_blocks.")) for key in bare):
        _refuse(bare, name)
        return ControlKind.CONTROLNET
    if any(key.startswith(("ip_adapter.", "image_proj.")) for key in bare):
        return ControlKind.IP_ADAPTER
    _refuse(bare, name)
    if any(key.startswith("body.0.") and not key.startswith("body.0.rdb") for key in bare):
        return ControlKind.T2I_ADAPTER
    raise CheckpointError(
        f"'{name}' is no ControlNet, T2I-Adapter or IP-Adapter"
        + (f" (its first tensor is '{keys[0]}')." if keys else ": it holds no tensors.")
    )


def _has_low_rank(keys: Sequence[str]) -> bool:
    return any(key.endswith(".down") for key in keys) and any(key.endswith(".up") for key in keys)


def _refuse(keys: Sequence[str], name: str) -> None:
    for beginnings, what in _REFUSED:
        if any(key.startswith(beginnings) for key in keys):
            raise CheckpointError(f"'{name}' is {what}.")


def control_kind(file: ControlFile) -> ControlKind:
    """What `file` is, told by its header; a folder by the class its configuration names.

    Raises:
        CheckpointError: If it cannot be read or used.
    """
    if file.path.is_dir():
        named = str(read_json(file.path / "config.json").get("_class_name"))
        if named not in _CLASSES:
            raise CheckpointError(f"'{file.name}' holds a '{named}', which is no control model that can be used here.")
        return _CLASSES[named]
    return detect_control(read_header(file.weights).tensors, file.name)
