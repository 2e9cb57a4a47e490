"""Prompt styles: the CSV files they live in, how they join a prompt, and how they are found in one again."""

import csv
import io
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from schema.atomic import write_atomically
from schema.errors import OutputError

PLACEHOLDER = "{prompt}"
_COLUMNS = ("name", "prompt", "negative_prompt")


@dataclass(frozen=True, kw_only=True)
class Style:
    """A named pair of texts to add to prompt and negative prompt.

    Attributes:
        path: The CSV file it was read from, or None for one that is not saved yet.
    """

    name: str
    prompt: str = ""
    negative_prompt: str = ""
    path: Path | None = None


def apply_style(style_text: str, prompt: str) -> str:
    """`prompt` inside `style_text` where that has `{prompt}`, else both joined with a comma.

    Source: A1111 modules/styles.py, merge_prompts.
    """
    if PLACEHOLDER in style_text:
        return style_text.replace(PLACEHOLDER, prompt)
    return ", ".join(part for part in (prompt.strip(), style_text.strip()) if part)


def apply_styles(style_texts: Iterable[str], prompt: str) -> str:
    """`prompt` with several style texts applied one after the other."""
    for text in style_texts:
        prompt = apply_style(text, prompt)
    return prompt


def remove_style(style_text: str, prompt: str) -> str | None:
    """`prompt` as it was before `style_text` was applied, or None if the style is not in it.

    Source: A1111 modules/styles.py, extract_style_text_from_prompt.
    """
    prompt, style_text = prompt.strip(), style_text.strip()
    if PLACEHOLDER in style_text:
        left, _, right = style_text.partition(PLACEHOLDER)
        found = prompt.startswith(left) and prompt.endswith(right)
        return prompt[len(left) : len(prompt) - len(right)] if found else None
    if not prompt.endswith(style_text):
        return None
    return prompt[: len(prompt) - len(style_text)].removesuffix(", ")


def extract_styles(styles: Iterable[Style], prompt: str, negative_prompt: str) -> tuple[list[str], str, str]:
    """Names of the styles found in both prompts, in order of application, and the prompts without them.

    Source: A1111 modules/styles.py, StyleDatabase.extract_styles_from_prompt.
    """
    candidates = [style for style in styles if style.prompt or style.negative_prompt]
    names: list[str] = []
    while found := _last_applied(candidates, prompt, negative_prompt):
        style, prompt, negative_prompt = found
        candidates.remove(style)
        names.append(style.name)
    return names[::-1], prompt, negative_prompt


def _last_applied(styles: Sequence[Style], prompt: str, negative_prompt: str) -> tuple[Style, str, str] | None:
    for style in styles:
        positive = remove_style(style.prompt, prompt)
        negative = remove_style(style.negative_prompt, negative_prompt)
        if positive is not None and negative is not None:
            return style, positive, negative
    return None


def read_styles(path: Path) -> list[Style]:
    """Styles of a CSV file in its order; none if the file does not exist. Rows named `#…` are comments.

    The column of the prompt is `prompt`, in files of early versions `text`.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return [
            Style(
                name=row["name"],
                prompt=row.get("prompt", row.get("text")) or "",
                negative_prompt=row.get("negative_prompt") or "",
                path=path,
            )
            for row in csv.DictReader(file)
            if row.get("name") and not row["name"].startswith("#")
        ]


def write_styles(path: Path, styles: Iterable[Style]) -> None:
    """Writes `styles` as CSV with a byte order mark, as A1111 does; the previous file stays as `<name>.bak`.

    A crash leaves the old file or the new one, never a part.

    Raises:
        OutputError: If the file cannot be written.
    """
    try:
        if path.is_file():
            shutil.copy(path, path.with_name(path.name + ".bak"))
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(_COLUMNS)
        writer.writerows((style.name, style.prompt, style.negative_prompt) for style in styles)
        write_atomically(path, lambda file: file.write(text.getvalue().encode("utf-8-sig")))
    except OSError as error:
        raise OutputError(f"Styles could not be written to {path}: {error.strerror}.") from error


class StyleLibrary:
    """The styles of one or more CSV files, by name, in file order; of equal names the last one counts.

    Args:
        paths: CSV files; a name with `*` or `?` stands for every file that matches it, in order. New styles are
            saved to the first.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        assert paths, "at least one styles file"
        self._paths = tuple(paths)
        self._styles: dict[str, Style] = {}
        self.reload()

    @property
    def styles(self) -> Mapping[str, Style]:
        """Name → style, in display order."""
        return self._styles

    @property
    def default_path(self) -> Path:
        """File that new styles are saved to."""
        first = self._paths[0]
        return first.with_name("styles.csv") if _is_pattern(first) else first

    def reload(self) -> None:
        """Reads all files again."""
        self._styles = {style.name: style for path in self._files() for style in read_styles(path)}

    def _files(self) -> Iterable[Path]:
        for path in self._paths:
            yield from sorted(path.parent.glob(path.name)) if _is_pattern(path) else (path,)

    def save(self, style: Style) -> None:
        """Adds `style`, or replaces the one of its name in its file.

        Raises:
            OutputError: If the file cannot be written.
        """
        known = self._styles.get(style.name)
        path = (known.path if known else style.path) or self.default_path
        changed = {
            **self._styles,
            style.name: Style(name=style.name, prompt=style.prompt, negative_prompt=style.negative_prompt, path=path),
        }
        self._write(path, changed)

    def delete(self, name: str) -> None:
        """Removes the style called `name` from its file; nothing happens if there is none.

        Raises:
            OutputError: If the file cannot be written.
        """
        style = self._styles.get(name)
        if style is not None and style.path is not None:
            self._write(style.path, {key: value for key, value in self._styles.items() if key != name})

    def _write(self, path: Path, styles: dict[str, Style]) -> None:
        write_styles(path, (style for style in styles.values() if style.path == path))
        self._styles = styles

    def apply(self, names: Iterable[str], prompt: str, negative_prompt: str) -> tuple[str, str]:
        """Both prompts with the named styles applied; names that do not exist are ignored, as in A1111."""
        styles = [self._styles[name] for name in names if name in self._styles]
        return (
            apply_styles((style.prompt for style in styles), prompt),
            apply_styles((style.negative_prompt for style in styles), negative_prompt),
        )

    def extract(self, prompt: str, negative_prompt: str) -> tuple[list[str], str, str]:
        """Names of the styles found in both prompts, and the prompts without them (see `extract_styles`)."""
        return extract_styles(self._styles.values(), prompt, negative_prompt)


def _is_pattern(path: Path) -> bool:
    return any(char in path.name for char in "*?")
