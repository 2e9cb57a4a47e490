"""SHA-256 of model files, remembered on disk by path, size and modification time."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schema.errors import CheckpointError

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 4 << 20
_OLD_HASH_OFFSET = 0x100000
_OLD_HASH_BYTES = 0x10000


class HashCancelled(Exception):
    """Raised inside hashing when it was cancelled. Never shown to a user."""


class HashCache:
    """Remembered hashes.

    Args:
        path: JSON file the hashes are kept in; None keeps them in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._entries: dict[str, dict[str, Any]] = _read(path) if path else {}

    def known(self, file: Path) -> str | None:
        """The SHA-256 of `file` in hex if it is remembered and the file has not changed since, else None."""
        try:
            stamp = _stamp(file)
        except OSError:
            return None
        with self._lock:
            entry = self._entries.get(str(file))
        return str(entry["sha256"]) if entry and entry.get("stamp") == stamp and "sha256" in entry else None

    def sha256(
        self,
        file: Path,
        *,
        cancel: threading.Event | None = None,
        on_bytes: Callable[[int], None] | None = None,
    ) -> str:
        """The SHA-256 of `file` in hex, computed unless remembered.

        Args:
            cancel: Stops the work when set.
            on_bytes: Called with the number of bytes just read.

        Raises:
            CheckpointError: If the file cannot be read.
            HashCancelled: If `cancel` was set.
        """
        remembered = self.known(file)
        if remembered:
            return remembered
        try:
            stamp = _stamp(file)
            digest = hashlib.sha256()
            with file.open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    if cancel and cancel.is_set():
                        raise HashCancelled
                    digest.update(chunk)
                    if on_bytes:
                        on_bytes(len(chunk))
        except OSError as error:
            raise CheckpointError(f"'{file.name}' cannot be read: {error.strerror or error}.") from error
        result = digest.hexdigest()
        with self._lock:
            self._entries[str(file)] = {"stamp": stamp, "sha256": result}
            self._write()
        return result

    def _write(self) -> None:
        """Writes beside the file and renames, so that a stop in mid-write leaves the old one whole."""
        if self._path is None:
            return
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(self._entries, indent=1), encoding="utf-8")
            temporary.replace(self._path)
        except OSError as error:
            logger.warning("Hashes cannot be remembered in %s: %s", self._path, error)


def old_hash(file: Path) -> str:
    """The 8-digit hash of early releases: of 64 KiB at 1 MiB only; `NOFILE` where there is no file.

    Source: A1111 modules/sd_models.py, model_hash.
    """
    try:
        with file.open("rb") as stream:
            stream.seek(_OLD_HASH_OFFSET)
            return hashlib.sha256(stream.read(_OLD_HASH_BYTES)).hexdigest()[:8]
    except OSError:
        return "NOFILE"


def _stamp(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """The remembered entries; a missing or damaged file means that nothing is remembered."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        logger.warning("Remembered hashes in %s are unreadable and start anew: %s", path, error)
        return {}
    if not isinstance(content, dict):
        return {}
    return {str(name): entry for name, entry in content.items() if isinstance(entry, dict)}
