"""Reads the recorded cases in `tests/data/pure`."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

PURE = Path(__file__).resolve().parent.parent / "data" / "pure"


@cache
def recorded(name: str) -> dict[str, Any]:
    """The whole file `<name>.json`."""
    return json.loads((PURE / f"{name}.json").read_text(encoding="utf-8"))


def recorded_cases(name: str) -> list[Any]:
    """The cases of `<name>.json` as pytest parameters, named by their ids."""
    return [pytest.param(case["input"], case["output"], id=case["id"]) for case in recorded(name)["cases"]]
