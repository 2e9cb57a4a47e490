"""The text of an axis of the X/Y/Z plot and the values it stands for.

Source: A1111 scripts/xyz_grid.py (notation of ranges), modules/shared_items.py and scripts/xyz_grid.py (CSV).
"""

import csv
import io
import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence

from schema.errors import InvalidRequest, UnknownName

MAX_VALUES = 10_000
"""Values one axis may have; more is a slip of the keyboard."""

_WHOLE, _NUMBER = r"[+-]?\s*\d+", r"[+-]?\s*(?:\d+(?:\.\d*)?|\.\d+)"
_DIGITS = 8
"""Decimals to which computed numbers are rounded, so that 0.1 + 0.2 is 0.3."""


def split_csv(text: str) -> list[str]:
    """The entries of comma-separated `text` without spaces around them; quotes keep a comma inside an entry."""
    try:
        rows = list(csv.reader(io.StringIO(text), skipinitialspace=True, strict=False))
    except csv.Error as error:
        raise InvalidRequest(f"The values {text!r} cannot be read: {error}.") from error
    return [entry.strip() for row in rows for entry in row]


def join_csv(entries: Iterable[str]) -> str:
    """`entries` as `split_csv` reads them back."""
    target = io.StringIO()
    csv.writer(target, lineterminator="").writerow(list(entries))
    return target.getvalue()


def whole_numbers(entries: Sequence[str]) -> list[int]:
    """Numbers of `5`, `1-5`, `1-5 (+2)`, `10-5 (-3)` and `1-10 [5]`; a range has its end where a step meets it.

    Raises:
        InvalidRequest: If an entry is none of these, or stands for no number.
    """
    return [int(value) for entry in entries for value in _expanded(entry, _WHOLE, int)]


def numbers(entries: Sequence[str]) -> list[float]:
    """Numbers of the same forms with decimals: `1-3 (+0.5)`, `0.0-1.0 [6]`; a range without step goes by 1.

    Raises:
        InvalidRequest: If an entry is none of these, or stands for no number.
    """
    return [float(value) for entry in entries for value in _expanded(entry, _NUMBER, float)]


def orders(entries: Sequence[str]) -> list[tuple[str, ...]]:
    """Every order of `entries`.

    Raises:
        InvalidRequest: If there are too many.
    """
    if len(entries) > 1 and math.factorial(len(entries)) > MAX_VALUES:
        raise InvalidRequest(f"{len(entries)} words have {math.factorial(len(entries)):,} orders; give fewer.")
    return list(itertools.permutations(entries))


def nothing_else(name: str) -> tuple[str, ...]:
    """An entry without other names."""
    return ()


def resolved(
    kind: str, wanted: str, names: Sequence[str], other_names: Callable[[str], Iterable[str]] = nothing_else
) -> str:
    """The one of `names` that `wanted` means: exactly, in any case, by another name, or as a part of one name only.

    Raises:
        UnknownName: If there is none; the message names the closest.
        InvalidRequest: If several contain it.
    """
    key = wanted.strip().casefold()
    if wanted in names:
        return wanted
    found = [name for name in names if name.casefold() == key]
    found = found or [name for name in names if key in {other.casefold() for other in other_names(name)}]
    found = found or [name for name in names if key and key in name.casefold()]
    if not found:
        raise UnknownName(kind, wanted, names)
    if len(found) > 1:
        raise InvalidRequest(f"{kind} '{wanted}' could be {', '.join(found[:6])}. Write more of the name.")
    return found[0]


def _expanded(entry: str, number: str, kind: type[int] | type[float]) -> Sequence[float]:
    """The numbers of one entry, as floats or ints; an empty entry has none."""
    text = entry.strip()
    if not text:
        return ()
    if re.fullmatch(number, text):
        return [kind(_tight(text))]
    match = re.fullmatch(rf"({number})\s*-\s*({number})\s*(?:\(\s*({number})\s*\)|\[\s*(\d+)\s*\])?", text, re.ASCII)
    if match is None:
        words = "a whole number" if kind is int else "a number"
        raise InvalidRequest(f"'{entry}' is neither {words} nor a range such as 1-5, 1-5 (+2) or 1-10 [5].")
    start, end = kind(_tight(match[1])), kind(_tight(match[2]))
    if match[4]:
        return _spread(start, end, _counted(entry, int(match[4])))
    step = kind(_tight(match[3])) if match[3] else (1 if end >= start else -1)
    if not step or (end - start) / step < 0:
        raise InvalidRequest(f"'{entry}' never gets from {start} to {end}; give a step like (+1) or (-1).")
    # The last multiple of the step counts although it may be a rounding error beyond the end.
    count = _counted(entry, math.floor((end - start) / step + 10**-_DIGITS) + 1)
    return [round(start + step * index, _DIGITS) for index in range(count)]


def _spread(start: float, end: float, count: int) -> list[float]:
    step = (end - start) / (count - 1) if count > 1 else 0.0
    return [round(start + step * index, _DIGITS) for index in range(count)]


def _counted(entry: str, count: int) -> int:
    if not 0 < count <= MAX_VALUES:
        raise InvalidRequest(f"'{entry}' stands for {count} values; between 1 and {MAX_VALUES} are accepted.")
    return count


def _tight(text: str) -> str:
    return re.sub(r"\s", "", text)
