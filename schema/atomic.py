"""Files that are either wholly written or not there: temporary neighbour, fsync, rename."""

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Generator
from pathlib import Path
from typing import BinaryIO

TEMPORARY_SUFFIX = ".tmp"
"""Ending of unfinished files; leftovers of a killed process are recognised by it."""

STALE_AFTER_S = 3600.0
"""Age after which an unfinished file belongs to no living process; a picture is written in seconds."""


@contextlib.contextmanager
def temporary_file(folder: Path, name: str) -> Generator[Path]:
    """The path of an empty, new file in `folder` to write to; removed at the end unless it was renamed.

    Args:
        name: Beginning of its name, so that a leftover can be told.

    Raises:
        OSError: If the folder cannot be written to.
    """
    path = folder / f".{name[:64]}.{uuid.uuid4().hex[:12]}{TEMPORARY_SUFFIX}"
    # Not tempfile: its files are readable by their owner only, and a saved picture is a file like any other.
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Replaces `path` with what `write` writes; a crash leaves the old file or the new one, never a part.

    Raises:
        OSError: If it cannot be written; the old file is untouched then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_file(path.parent, path.name) as temporary:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in `folder` survive a power cut, where the system can do that."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems refuse to sync folders; the rename itself has succeeded.
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def remove_stale_files(folder: Path) -> int:
    """Removes unfinished files older than an hour below `folder`; how many there were."""
    removed = 0
    limit = time.time() - STALE_AFTER_S
    for path in folder.rglob(f".*{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_mtime < limit:
                path.unlink()
                removed += 1
    return removed
