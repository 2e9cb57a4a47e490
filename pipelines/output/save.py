"""Saves finished pictures: folder and name from patterns, no other file ever overwritten, no half-written ones.

Source: A1111 modules/images.py, save_image.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from pipelines.output.filenames import NameFacts, expand_pattern, folder_parts, next_number
from pipelines.output.metadata import SECTION, format_for, write_image
from schema.atomic import TEMPORARY_SUFFIX, sync_folder, temporary_file, write_atomically
from schema.errors import ForbiddenPath, OutputError
from schema.paths import contained, is_reserved_name

MOST_TRIES = 500
"""Running numbers tried when other programs save into the same folder at the same time."""

_LONGEST_NAME = 255
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@dataclass(frozen=True, kw_only=True)
class SaveOptions:
    """How pictures are saved. Every field is named as the option it comes from."""

    samples_format: str = "png"
    grid_format: str = "png"
    samples_filename_pattern: str = ""
    save_images_add_number: bool = True
    save_images_replace_action: str = "Replace"
    save_to_dirs: bool = True
    grid_save_to_dirs: bool = True
    directories_filename_pattern: str = "[date]"
    enable_pnginfo: bool = True
    save_txt: bool = False
    jpeg_quality: int = 80
    webp_lossless: bool = False
    export_for_4chan: bool = False
    img_downscale_threshold: float = 4.0
    target_side_length: int = 4000

    @classmethod
    def taken_from(cls, settings: object) -> "SaveOptions":
        """The options as `settings` has them."""
        return cls(**{option.name: getattr(settings, option.name) for option in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class SavedImage:
    """Files that one picture became.

    Attributes:
        text_path: Sidecar with the infotext, or None.
        small_path: JPEG copy of a large picture, or None.
    """

    path: Path
    text_path: Path | None = None
    small_path: Path | None = None


def save_image(
    image: Image.Image,
    folder: Path,
    *,
    facts: NameFacts,
    options: SaveOptions,
    infotext: str | None = None,
    extension: str | None = None,
    suffix: str = "",
    is_grid: bool = False,
    is_short_name: bool = False,
    forced_name: str | None = None,
    save_to_dirs: bool | None = None,
    items: Mapping[str, str] | None = None,
    section: str = SECTION,
) -> SavedImage:
    """Writes `image` below `folder` and says where.

    Args:
        facts: What its name can tell; `facts.basename` begins it ("grid").
        extension: File ending; the option for pictures or grids when None.
        suffix: End of the name, such as `-mask`.
        is_short_name: Only basename and number.
        forced_name: The name to use instead of pattern and number; an existing file is kept or replaced as the
            option says.
        save_to_dirs: Whether to use the folder pattern; the option for pictures or grids when None.
        items, section: See `write_image`.

    Raises:
        OutputError: If it cannot be written: no space, no permission, or a name with a folder in it.
    """
    extension = format_for(extension or (options.grid_format if is_grid else options.samples_format), image.size)
    if save_to_dirs is None:
        save_to_dirs = options.grid_save_to_dirs if is_grid else options.save_to_dirs
    try:
        target = _folder(folder, facts, options, image) if save_to_dirs else folder
        target.mkdir(parents=True, exist_ok=True)
        decoration = "" if is_short_name else _decoration(facts, options, image)
        names = _names(target, forced_name, decoration + suffix, facts.basename, options)
        is_complete = True

        def write(file: BinaryIO) -> None:
            nonlocal is_complete
            is_complete = _write(image, file, extension, infotext, options, items=items, section=section)

        path = _save_under(names, f".{extension}", write)
        small = _save_small_copy(image, path, infotext, options) if options.export_for_4chan else None
        # A JPEG holds 64 KiB of metadata; what does not fit goes where it is not lost.
        text = _save_text(path, infotext) if infotext and (options.save_txt or not is_complete) else None
    except OSError as error:
        raise OutputError(f"The picture could not be saved in {folder}: {_reason(error)}.") from error
    return SavedImage(path=path, text_path=text, small_path=small)


def _folder(folder: Path, facts: NameFacts, options: SaveOptions, image: Image.Image) -> Path:
    """The sub-folder that the pattern asks for; it cannot lie outside `folder`.

    Raises:
        OutputError: If a link in `folder` leads out of it.
    """
    expanded = expand_pattern(options.directories_filename_pattern or "[prompt_words]", facts, image)
    parts = [_safe(part, "") for part in folder_parts(expanded)]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        contained(folder.joinpath(*parts), [folder])
    except ForbiddenPath as error:
        raise OutputError(f"The picture could not be saved: {error} Change 'Directory name pattern'.") from error
    return folder.joinpath(*parts)


def _decoration(facts: NameFacts, options: SaveOptions, image: Image.Image) -> str:
    """What follows the number. The default has the prompt only when pictures are not sorted into folders."""
    if facts.seed is None:
        return ""
    default = "[seed]" if options.save_to_dirs else "[seed]-[prompt_spaces]"
    return expand_pattern(options.samples_filename_pattern or default, facts, image)


@dataclass(frozen=True, kw_only=True)
class _Names:
    """Stems to try in order, and whether a file of the first one may be replaced."""

    stems: Iterator[str]
    folder: Path
    may_replace: bool


def _names(folder: Path, forced_name: str | None, decoration: str, basename: str, options: SaveOptions) -> _Names:
    if forced_name is None and (options.save_images_add_number or not decoration):
        decoration = f"-{decoration}" if decoration else ""
        first = next_number(folder, basename)
        numbers = range(first, first + MOST_TRIES)
        stems = (f"{basename}-{number:04}" if basename else f"{number:05}" for number in numbers)
        return _Names(stems=(stem + decoration for stem in stems), folder=folder, may_replace=False)
    stem = decoration if forced_name is None else forced_name
    others = (f"{stem}-{number}" for number in range(1, MOST_TRIES))
    return _Names(
        stems=(name for names in ((stem,), others) for name in names),
        folder=folder,
        may_replace=options.save_images_replace_action == "Replace",
    )


def _save_under(names: _Names, ending: str, write: Callable[[BinaryIO], object]) -> Path:
    """Writes a temporary file and gives it the first free name; the path it has in the end.

    Raises:
        OSError: If it cannot be written.
        OutputError: If a name has a folder in it, or all are taken.
    """
    with temporary_file(names.folder, "picture") as temporary:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        for stem in names.stems:
            path = names.folder / _safe(stem, ending)
            if names.may_replace:
                temporary.replace(path)
            elif not publish(temporary, path):
                continue
            sync_folder(names.folder)
            return path
    raise OutputError(f"The picture could not be saved in {names.folder}: {MOST_TRIES} names are taken already.")


def publish(temporary: Path, path: Path) -> bool:
    """Gives `temporary` the name `path` unless there is a file of that name; whether it did.

    Two processes can never both succeed for one name, and a crash leaves no part of a file under it.

    Raises:
        OSError: If the folder cannot be written to.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        return _publish_without_links(temporary, path)
    return True


def _publish_without_links(temporary: Path, path: Path) -> bool:
    """As `publish`, on file systems without hard links (FAT, some network shares): a lock file decides."""
    if os.name == "nt":
        try:
            temporary.rename(path)
        except FileExistsError:
            return False
        return True
    lock = path.with_name(f".{path.stem[:64]}.lock{TEMPORARY_SUFFIX}")
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        return False
    with contextlib.ExitStack() as stack:
        stack.callback(lock.unlink, missing_ok=True)
        if path.exists():
            return False
        temporary.rename(path)
        return True


def _safe(stem: str, ending: str) -> str:
    """`stem + ending` as one file name: not too long in bytes, no device name.

    Raises:
        OutputError: If it has a folder in it.
    """
    if "/" in stem or "\\" in stem:
        raise OutputError(
            f"The picture could not be saved: '{stem}' is not a file name. Put folders into the "
            "'Directory name pattern' instead of the 'Images filename pattern'."
        )
    stem = stem.replace("\0", "_")
    room = _LONGEST_NAME - len(ending.encode())
    stem = stem.encode(errors="replace")[:room].decode(errors="ignore")
    return f"_{stem[: room - 1]}{ending}" if is_reserved_name(stem) else stem + ending


def _write(
    image: Image.Image,
    file: BinaryIO,
    extension: str,
    infotext: str | None,
    options: SaveOptions,
    *,
    items: Mapping[str, str] | None = None,
    section: str = SECTION,
) -> bool:
    return write_image(
        image,
        file,
        extension,
        infotext=infotext,
        items=items,
        section=section,
        with_metadata=options.enable_pnginfo,
        quality=options.jpeg_quality,
        lossless=options.webp_lossless,
    )


def _save_small_copy(image: Image.Image, path: Path, infotext: str | None, options: SaveOptions) -> Path | None:
    """A JPEG next to a picture that is large in pixels or bytes, at most `target_side_length` long; else None.

    A JPEG has no such copy: in A1111 the copy takes its place, and the large picture is lost.
    """
    limit = options.target_side_length
    is_oversize = max(image.size) > limit
    is_large = is_oversize or path.stat().st_size > options.img_downscale_threshold * 1024 * 1024
    if not is_large or path.suffix == ".jpg":
        return None
    if is_oversize:
        scale = limit / max(image.size)
        size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
        image = image.resize(size, Image.Resampling.LANCZOS)
    names = _names(path.parent, path.stem, "", "", options)
    return _save_under(names, ".jpg", lambda file: _write(image, file, "jpg", infotext, options))


def _save_text(path: Path, infotext: str) -> Path:
    text = path.with_suffix(".txt")
    write_atomically(text, lambda file: file.write(f"{infotext}\n".encode(errors="replace")))
    return text


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "the disk is full. Free some space, or choose another folder on the Settings page"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "the folder is read-only. Change its permissions, or choose another on the Settings page"
        case errno.ENAMETOOLONG:
            return "the path is too long. Shorten the folder or file name pattern"
        case errno.ENOTDIR | errno.EEXIST:
            return "a part of the path is a file, not a folder"
        case _:
            return error.strerror or str(error)
