"""What a bad input led to, and whether that is what a user should get."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One bad input.

    Attributes:
        given: The input, in words.
        sentence: What the user is told.
        problems: What is wrong with that, or what was lost; empty when all is well.
    """

    given: str
    sentence: str
    problems: tuple[str, ...] = ()


def judge(given: str, sentence: str, *, names: Iterable[str], problems: Iterable[str] = ()) -> Outcome:
    """The outcome of `given`: besides `problems`, the sentence must be one line and name every one of `names`."""
    found = [problem for problem in problems if problem]
    found += [f"the sentence does not name {name!r}" for name in names if name not in sentence]
    if "\n" in sentence or "Traceback" in sentence:
        found.append("more than one sentence")
    return Outcome(given=given, sentence=sentence or "(nothing)", problems=tuple(found))
