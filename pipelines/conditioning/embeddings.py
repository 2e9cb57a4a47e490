"""Textual inversion: embedding files, and finding their names among a prompt's tokens."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from pipelines.checkpoints.files import read_pickle, read_state_dict
from pipelines.conditioning.embedding_images import read_embedded_data
from pipelines.conditioning.tokenizer import tokenize
from schema.errors import CheckpointError, WebuiError

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

_log = logging.getLogger(__name__)

_PICKLES = {".pt", ".bin"}
_IMAGES = {".png", ".webp", ".avif", ".jxl"}
_ENCODER_KEYS = ("clip_l", "clip_g")


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding:
    """Vectors that stand for a word.

    Attributes:
        tensors: Per text encoder of the model it is for, (vector count, width) float32 on the CPU; SDXL has two.
        hash: First 12 hex digits of the file's sha256; of an embedding inside a LoRA, that LoRA's name.
        step: Training steps, where the file tells.
        trained_on: Name and hash of the checkpoint it was trained on, where the file tells.
    """

    name: str
    tensors: tuple[Tensor, ...]
    hash: str = ""
    path: Path | None = None
    step: int | None = None
    trained_on: str | None = None
    trained_on_hash: str | None = None

    @property
    def vector_count(self) -> int:
        """Tokens it takes up in a prompt."""
        return self.tensors[0].shape[0]

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of its vectors per text encoder; it fits a model whose text encoders have these widths."""
        return tuple(tensor.shape[-1] for tensor in self.tensors)


def read_embedding(path: Path) -> Embedding:
    """The embedding in a file, named after it; a picture that carries one may name it otherwise.

    Files hold `string_to_param` with one entry (A1111), `clip_l` and `clip_g` (SDXL), or a single tensor (diffusers).

    Raises:
        CheckpointError: If the file cannot be read or holds no embedding.

    Source: A1111 modules/textual_inversion/textual_inversion.py, load_from_file and create_embedding_from_data.
    """
    content = _content(path)
    step = content.get("step")
    return Embedding(
        name=str(content.get("name") or path.stem) if path.suffix.casefold() in _IMAGES else path.stem,
        tensors=embedding_tensors(content, path.name),
        hash=hashlib.sha256(path.read_bytes()).hexdigest()[:12],
        path=path,
        step=int(step) if isinstance(step, int | float) else None,
        trained_on=_text(content.get("sd_checkpoint_name")),
        trained_on_hash=_text(content.get("sd_checkpoint")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _content(path: Path) -> Mapping[str, object]:
    suffix = path.suffix.casefold()
    if suffix in _IMAGES:
        data: object = read_embedded_data(path)
    elif suffix in _PICKLES:
        data = read_pickle(path)
    else:
        data = read_state_dict(path)
    if not isinstance(data, Mapping):
        raise CheckpointError(f"'{path.name}' holds no embedding.")
    return cast(Mapping[str, object], data)


def embedding_tensors(content: Mapping[str, object], file_name: str) -> tuple[Tensor, ...]:
    """The vectors per text encoder in an embedding file's content, float32.

    Raises:
        CheckpointError: If there are none.
    """
    trained = content.get("string_to_param")
    # A pickled ParameterDict keeps its tensors in an attribute.
    trained = getattr(trained, "_parameters", trained)
    if isinstance(trained, Mapping):
        found = list(cast(Mapping[object, object], trained).values())
    elif all(key in content for key in _ENCODER_KEYS):
        found = [content[key] for key in _ENCODER_KEYS]
    else:
        found = [value for value in content.values() if isinstance(value, Tensor)]
    tensors = [value.detach().to(torch.float32) for value in found if isinstance(value, Tensor)]
    tensors = [tensor[None] if tensor.ndim == 1 else tensor for tensor in tensors]
    is_for_two = all(key in content for key in _ENCODER_KEYS)
    if len(tensors) != (2 if is_for_two else 1) or any(t.ndim != 2 or not t.numel() for t in tensors):
        raise CheckpointError(f"'{file_name}' holds no embedding: found {len(tensors)} tensors, expected one.")
    return tuple(tensors)


@dataclass(frozen=True, kw_only=True)
class _Name:
    """An embedding under the tokens of its name."""

    ids: tuple[int, ...]
    embedding: Embedding


class EmbeddingIndex:
    """The embeddings one model can use, found by the tokens of their names.

    Args:
        tokenizer: Splits the names; any CLIP tokenizer, their ids are the same.

    Source: A1111 modules/textual_inversion/textual_inversion.py, EmbeddingDatabase.find_embedding_at_position.
    """

    def __init__(self, embeddings: Iterable[Embedding] = (), tokenizer: CLIPTokenizer | None = None) -> None:
        self.embeddings = tuple(embeddings)
        self._by_first_id: dict[int, list[_Name]] = {}
        if not self.embeddings:
            return
        assert tokenizer is not None, "names of embeddings are compared as tokens"
        tokenized = tokenize(tokenizer, [embedding.name for embedding in self.embeddings])
        for embedding, ids in zip(self.embeddings, tokenized, strict=True):
            if ids:
                self._by_first_id.setdefault(ids[0], []).append(_Name(ids=tuple(ids), embedding=embedding))
        for names in self._by_first_id.values():
            names.sort(key=lambda name: len(name.ids), reverse=True)

    def find(self, tokens: Sequence[int], at: int) -> tuple[Embedding, int] | None:
        """The embedding with the longest name that begins at token `at`, and the name's length in tokens, or None."""
        for name in self._by_first_id.get(tokens[at], ()):
            if tuple(tokens[at : at + len(name.ids)]) == name.ids:
                return name.embedding, len(name.ids)
        return None

    @property
    def content_key(self) -> frozenset[tuple[str, str]]:
        """Changes when an embedding is added, removed or its file changes."""
        return frozenset((embedding.name, embedding.hash) for embedding in self.embeddings)


@dataclass
class _Known:
    """A scanned file: what it held when it had this size and time."""

    stamp: tuple[int, int]
    embedding: Embedding | None
    problem: str | None = None


@dataclass
class EmbeddingLibrary:
    """The embedding files in some folders, read again when they change.

    Attributes:
        folders: Searched with their sub-folders, links followed.
    """

    folders: Sequence[Path]
    _known: dict[Path, _Known] = field(default_factory=dict[Path, _Known], init=False)

    def scan(self) -> None:
        """Reads new and changed files and forgets removed ones; files that cannot be used are kept as problems."""
        found: dict[Path, _Known] = {}
        for path in _embedding_files(self.folders):
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            known = self._known.get(path)
            found[path] = known if known and known.stamp == stamp else _read_known(path, stamp)
        self._known = found

    @property
    def embeddings(self) -> list[Embedding]:
        """All usable embeddings, of equal names the first."""
        by_name: dict[str, Embedding] = {}
        for known in self._known.values():
            if known.embedding is not None:
                by_name.setdefault(known.embedding.name, known.embedding)
        return list(by_name.values())

    @property
    def problems(self) -> dict[Path, str]:
        """Files that cannot be used, and why."""
        return {path: known.problem for path, known in self._known.items() if known.problem}

    def for_widths(self, widths: tuple[int, ...]) -> tuple[list[Embedding], list[Embedding]]:
        """The embeddings a model with text encoders of these widths can use, and those it skips."""
        fitting = [embedding for embedding in self.embeddings if embedding.widths == widths]
        return fitting, [embedding for embedding in self.embeddings if embedding.widths != widths]

    def index(
        self, tokenizer: CLIPTokenizer, widths: tuple[int, ...], bundled: Iterable[Embedding] = ()
    ) -> EmbeddingIndex:
        """The embeddings for a model, with those `bundled` in active LoRAs whose names no file has."""
        fitting, _ = self.for_widths(widths)
        names = {embedding.name for embedding in fitting}
        extra = [embedding for embedding in bundled if embedding.name not in names and embedding.widths == widths]
        return EmbeddingIndex([*fitting, *extra], tokenizer)


def _embedding_files(folders: Iterable[Path]) -> Iterator[Path]:
    suffixes = {".safetensors"} | _PICKLES | _IMAGES
    for folder in folders:
        for root, _, names in os.walk(folder, followlinks=True):
            for name in sorted(names):
                path = Path(root, name)
                is_preview = path.suffix.casefold() in _IMAGES and Path(path.stem).suffix.casefold() == ".preview"
                if path.suffix.casefold() in suffixes and not is_preview and path.is_file() and path.stat().st_size:
                    yield path


def _read_known(path: Path, stamp: tuple[int, int]) -> _Known:
    try:
        return _Known(stamp, read_embedding(path))
    except WebuiError as error:
        # A picture without an embedding is somebody's picture, not a broken file.
        if path.suffix.casefold() in _IMAGES:
            return _Known(stamp, None)
        _log.warning("Embedding %s is left out: %s", path, error)
        return _Known(stamp, None, problem=str(error))
