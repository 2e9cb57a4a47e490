"""The gallery's Save button: copies in a folder of their own, a log of what was saved, a zip of several.

Source: A1111 modules/ui_common.py, save_files.
"""

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from pipelines.output.filenames import NameFacts, expand_pattern, sanitize
from pipelines.output.save import SavedImage, SaveOptions, save_image
from schema.atomic import write_atomically
from schema.errors import OutputError

LOG_COLUMNS = (
    "prompt",
    "seed",
    "width",
    "height",
    "sampler",
    "cfgs",
    "steps",
    "filename",
    "negative_prompt",
    "sd_model_name",
    "sd_model_hash",
)
"""Columns of log.csv."""

ZIP_PATTERN = "[datetime]_[[model_name]]_[seed]-[seed_last]"
"""Name of an archive when the option is empty; the doubled brackets stay around the model's name."""


def save_selection(
    pictures: Sequence[tuple[Image.Image, str, NameFacts]],
    folder: Path,
    *,
    options: SaveOptions,
    extension: str,
    log_row: Mapping[str, object] | None = None,
    save_to_dirs: bool = False,
) -> tuple[SavedImage, ...]:
    """Saves `(picture, infotext, facts)` into `folder`, and one row into its log.csv.

    Args:
        log_row: Values by column; `filename` is added. None writes no row.

    Raises:
        OutputError: If something cannot be written.
    """
    saved = tuple(
        save_image(
            image,
            folder,
            facts=facts,
            options=options,
            infotext=infotext,
            extension=extension,
            save_to_dirs=save_to_dirs,
        )
        for image, infotext, facts in pictures
    )
    if log_row is not None and saved:
        append_log(folder / "log.csv", {**log_row, "filename": saved[0].path.name})
    return saved


def append_log(path: Path, row: Mapping[str, object]) -> None:
    """Adds `row` to a CSV file with `LOG_COLUMNS`; a file of an older release gets the columns it lacks.

    Raises:
        OutputError: If it cannot be read or written.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        rows = list(csv.reader(io.StringIO(text)))
        header = tuple(rows[0]) if rows else ()
        columns = (*header, *(column for column in LOG_COLUMNS if column not in header))
        lines = [columns, *([*line, *[""] * (len(columns) - len(line))] for line in rows[1:])]
        buffer = io.StringIO(newline="")
        csv.writer(buffer).writerows([*lines, [row.get(column, "") for column in columns]])
        write_atomically(path, lambda file: file.write(buffer.getvalue().encode(errors="replace")))
    except (OSError, csv.Error) as error:
        raise OutputError(f"{path} could not be written: {error}.") from error


def write_zip(
    files: Sequence[Path], folder: Path, *, facts: NameFacts, image: Image.Image, pattern: str = ZIP_PATTERN
) -> Path:
    """A zip of `files` in `folder`, named by `pattern`; of equal file names the later ones get a number.

    Raises:
        OutputError: If it cannot be written.
    """
    name = sanitize(expand_pattern(pattern or ZIP_PATTERN, facts, image), replace_spaces=False) or "images"
    path = folder / f"{name}.zip"
    taken: set[str] = set()
    try:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for file in files:
                archive.write(file, _unique(file.name, taken))
        write_atomically(path, lambda target: target.write(buffer.getbuffer()))
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error.strerror or error}.") from error
    return path


def _unique(name: str, taken: set[str]) -> str:
    stem, ending = Path(name).stem, Path(name).suffix
    number = 0
    while name in taken:
        number += 1
        name = f"{stem}-{number}{ending}"
    taken.add(name)
    return name
