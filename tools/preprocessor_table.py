"""Writes the tables of `docs/preprocessors.md` from the catalogue.

python -m tools.preprocessor_table
"""

from __future__ import annotations

from pathlib import Path

from preprocessors.base import Preprocessor
from preprocessors.catalogue import PREPROCESSORS
from preprocessors.weights import WeightFile

PAGE = Path(__file__).resolve().parent.parent / "docs" / "preprocessors.md"
START, END = "<!-- from the catalogue -->", "<!-- end -->"

_MIB = 1 << 20


def tables(entries: tuple[Preprocessor, ...] = PREPROCESSORS) -> str:
    """Three Markdown tables: what runs, which files it needs, and what does not run with the reason."""
    able = [entry for entry in entries if not entry.unavailable]
    rows = [
        (
            f"`{entry.name}`" + (f" ({entry.label})" if entry.label != entry.name else ""),
            ", ".join(entry.types) or ("every" if entry.name == "none" else "All only"),
            "; ".join(
                f"{slider.label} {slider.minimum:g}–{slider.maximum:g} ({slider.default:g})" for slider in entry.sliders
            ),
            entry.provider,
            ", ".join(f"`{file.place}`" for file in entry.weights),
            entry.note,
        )
        for entry in able
    ]
    files = {file.place: file for entry in able for file in entry.weights}
    return "\n\n".join(
        (
            _table(("Preprocessor", "Control types", "Sliders (default)", "Provider", "Files", "Note"), rows),
            "## Files",
            _table(
                ("File", "Size", "Licence", "From"),
                [
                    (f"`{place}`", _size(file), file.licence, file.url or "shipped")
                    for place, file in sorted(files.items())
                ],
            ),
            "## What does not run",
            _table(
                ("Preprocessor", "Reason"),
                [(f"`{entry.name}`", entry.unavailable) for entry in entries if entry.unavailable],
            ),
        )
    )


def _size(file: WeightFile) -> str:
    return f"{file.size_bytes / _MIB:.0f} MiB" if file.size_bytes >= _MIB else "–"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def with_tables(page: str) -> str:
    """`page` with its tables replaced by those of the catalogue."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{tables()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
