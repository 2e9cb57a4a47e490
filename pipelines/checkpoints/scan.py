"""The list of checkpoints: files and diffusers folders found under the model folders, and how to name them."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipelines.checkpoints.detect import detect
from pipelines.checkpoints.hashes import HashCache, HashCancelled, old_hash
from pipelines.checkpoints.layout import weight_files
from pipelines.checkpoints.model import CheckpointInfo
from schema.errors import CheckpointError, CheckpointNotFound

_ENDINGS = (".ckpt", ".safetensors")
_VAE_ENDINGS = (".vae.ckpt", ".vae.safetensors")

HashProgress = Callable[[str, int, int], None]
"""Called with the checkpoint's name, bytes hashed so far and bytes in all."""


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sorting key that puts `model 2` before `model 10`, without regard to case."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in parts]


def walk_models(root: Path, endings: Sequence[str]) -> Iterator[Path]:
    """Files below `root` with one of `endings`, and diffusers folders (not looked into further), in natural order.

    Symbolic links are followed, each folder once. Hidden folders and files are left out.

    Source: A1111 modules/util.py, walk_files.
    """
    seen: set[str] = set()
    folders: list[tuple[str, list[str]]] = []
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        folders.append((folder, names))
        if "model_index.json" in names:
            subfolders.clear()
    for folder, names in sorted(folders, key=lambda entry: natural_key(entry[0])):
        if "model_index.json" in names and Path(folder) != root:
            yield Path(folder)
            continue
        for name in sorted(names, key=natural_key):
            if name.casefold().endswith(tuple(endings)) and not name.startswith("."):
                yield Path(folder, name)


class CheckpointList:
    """The checkpoints in the order the dropdown shows them.

    A file that cannot be loaded is listed too, with its `problem`.

    Args:
        roots: Folders to search, in order; missing ones are empty.
        extra: A single file or diffusers folder (flag `--ckpt`), listed first.
        hashes: Where SHA-256 hashes are remembered.

    Source: A1111 modules/sd_models.py, list_models and CheckpointInfo.
    """

    def __init__(self, roots: Sequence[Path], *, extra: Path | None = None, hashes: HashCache | None = None) -> None:
        self._roots = tuple(root.absolute() for root in roots)
        self._extra = extra.absolute() if extra else None
        self._hashes = hashes or HashCache()
        self._lock = threading.Lock()
        self._entries: tuple[CheckpointInfo, ...] = ()
        self._problems: dict[tuple[Path, int, int], str | None] = {}
        self.refresh()

    def refresh(self) -> None:
        """Searches the folders again. Files seen before and not changed since are not opened."""
        found: dict[Path, CheckpointInfo] = {}
        if self._extra and self._extra.exists():
            found[self._extra] = self._info(self._extra, self._extra.name)
        for root in self._roots:
            for path in walk_models(root, _ENDINGS):
                if path not in found and not path.name.casefold().endswith(_VAE_ENDINGS):
                    found[path] = self._info(path, path.relative_to(root).as_posix())
        with self._lock:
            self._entries = tuple(found.values())

    def __iter__(self) -> Iterator[CheckpointInfo]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def usable(self) -> list[CheckpointInfo]:
        """The checkpoints without a problem, in order."""
        return [info for info in self if info.problem is None]

    @property
    def titles(self) -> list[str]:
        """Titles in order, `name [short hash]`."""
        return [info.title for info in self]

    def find(self, text: str) -> CheckpointInfo | None:
        """The checkpoint meant by `text`, or None.

        Accepted are title, name, stem, name with `_` for `/`, each hash, and any of these with a hash in brackets.
        Else the shortest title that contains `text`, or contains it without a trailing `[…]`.

        Source: A1111 modules/sd_models.py, CheckpointInfo.ids and get_closet_checkpoint_match.
        """
        text = text.strip()
        if not text:
            return None
        entries = self._entries
        # Later entries win, as they overwrite aliases in the reference.
        for info in reversed(entries):
            if text in _ids(info):
                return info
        old = re.fullmatch(r"(?:(?P<name>.*) \[)?(?P<hash>[0-9a-f]{8})\]?", text)
        if old:
            for info in reversed(entries):
                if old["name"] in (None, info.name) and old_hash(_hashed_file(info)) == old["hash"]:
                    return info
        without_hash = re.sub(r"\s*\[[^]]+]\s*$", "", text)
        for part in (text, without_hash):
            containing = [info for info in entries if part and part in info.title]
            if containing:
                return min(containing, key=lambda info: len(info.title))
        return None

    def get(self, text: str) -> CheckpointInfo:
        """The checkpoint meant by `text`.

        Raises:
            CheckpointNotFound: If there is none; the message names the closest.
        """
        info = self.find(text)
        if info is None:
            close = difflib.get_close_matches(text, self.titles, n=1, cutoff=0.4)
            hint = f" Closest: '{close[0]}'." if close else ""
            raise CheckpointNotFound(f"Checkpoint '{text}' is not installed.{hint}")
        return info

    def first(self) -> CheckpointInfo | None:
        """The first checkpoint that can be loaded, used where none or a missing one is chosen."""
        return next(iter(self.usable()), None)

    def hashed(
        self,
        info: CheckpointInfo,
        *,
        cancel: threading.Event | None = None,
        on_bytes: Callable[[int], None] | None = None,
    ) -> CheckpointInfo:
        """`info` with its SHA-256, computed unless remembered; the list shows it from then on.

        Raises:
            CheckpointError: If the file cannot be read.
            HashCancelled: If `cancel` was set.
        """
        if info.sha256:
            return info
        digest = self._hashes.sha256(_hashed_file(info), cancel=cancel, on_bytes=on_bytes)
        hashed = dataclasses.replace(info, sha256=digest)
        with self._lock:
            self._entries = tuple(hashed if entry.path == info.path else entry for entry in self._entries)
        return hashed

    def hash_all(self, cancel: threading.Event, on_progress: HashProgress | None = None) -> None:
        """Hashes every checkpoint that has none yet, until `cancel` is set. Made to run in a thread of its own.

        Unreadable files are passed over.
        """
        waiting = [info for info in self if info.sha256 is None and info.problem is None]
        total = sum(_size(info) for info in waiting)
        done = 0
        for info in waiting:

            def count(size: int, name: str = info.name) -> None:
                nonlocal done
                done += size
                if on_progress:
                    on_progress(name, done, total)

            try:
                self.hashed(info, cancel=cancel, on_bytes=count)
            except HashCancelled:
                return
            except CheckpointError:
                continue

    def _info(self, path: Path, name: str) -> CheckpointInfo:
        problem = self._problem(path)
        sha256 = None if problem else self._hashes.known(_hashed_file(CheckpointInfo(path=path, name=name)))
        return CheckpointInfo(path=path, name=name, sha256=sha256, problem=problem)

    def _problem(self, path: Path) -> str | None:
        try:
            status = path.stat()
        except OSError as error:
            return f"'{path.name}' cannot be opened: {error.strerror}."
        key = (path, status.st_size, status.st_mtime_ns)
        if path.is_dir() or key not in self._problems:
            self._problems[key] = _why_unusable(path)
        return self._problems[key]


def _why_unusable(path: Path) -> str | None:
    try:
        detect(path)
        if path.is_dir():
            weight_files(path / "unet")
    except CheckpointError as error:
        return str(error)
    return None


def _hashed_file(info: CheckpointInfo) -> Path:
    """The file whose hash stands for the checkpoint: of a diffusers folder the UNet's weights."""
    if not info.path.is_dir():
        return info.path
    try:
        return weight_files(info.path / "unet")[0]
    except CheckpointError:
        return info.path / "unet"


def _size(info: CheckpointInfo) -> int:
    try:
        return _hashed_file(info).stat().st_size
    except OSError:
        return 0


def _ids(info: CheckpointInfo) -> set[str]:
    ids = {info.title, info.name, info.stem, info.model_name}
    if info.sha256 and info.short_hash:
        ids |= {info.sha256, info.short_hash, f"{info.name} [{info.short_hash}]", f"{info.stem} [{info.short_hash}]"}
    return ids
