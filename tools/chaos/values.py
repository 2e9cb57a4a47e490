"""Requests with values that cannot be used: refused at once, naming field and value."""

from __future__ import annotations

import json
import math
from typing import Any

from schema.errors import UnknownName
from schema.requests import Txt2ImgRequest
from tools.chaos.outcome import Outcome, judge
from tools.chaos.toys import SMALL, Toys, told


def no_steps_and_too_many(toys: Toys) -> Outcome:
    """0 and 10 000 steps."""
    none, many = (_refused(toys, "steps", {"steps": steps}) for steps in (0, 10_000))
    sentence = f"{none.sentence}; {many.sentence}"
    return Outcome(given="0 steps; 10 000 steps", sentence=sentence, problems=(*none.problems, *many.problems))


def tiny_picture(toys: Toys) -> Outcome:
    """A picture smaller than one latent cell."""
    return _refused(toys, "7 x 7 pixels", {"width": 7, "height": 7}, also=["height"])


def huge_picture(toys: Toys) -> Outcome:
    """A picture that no machine has the memory for."""
    return _refused(toys, "20 000 pixels wide", {"width": 20_000})


def cfg_that_is_no_number(toys: Toys) -> Outcome:
    """A CFG scale of NaN, which JSON parsers let through."""
    return _refused(toys, "CFG scale NaN", {"cfg_scale": math.nan})


def unknown_sampler(toys: Toys) -> Outcome:
    """A sampler that does not exist: the page refuses it, REST replaces it as A1111 does, and both say so."""
    problem, sentence = "the page takes it", ""
    try:
        toys.manager.submit(Txt2ImgRequest.model_validate(SMALL | {"sampler_name": "Eulr a"}))
    except UnknownName as error:
        problem, sentence = "", str(error)
    answer = toys.ask(sampler_name="Eulr a")
    warnings: list[str] = json.loads(answer.json()["info"]).get("warnings", []) if answer.status_code == 200 else []
    problems = [problem, "" if any("Eulr a" in text for text in warnings) else "REST does not name the sampler"]
    both = f"{sentence} (REST, as A1111: {' '.join(warnings)})"
    return judge("sampler 'Eulr a'", both, names=["'Eulr a'", "'Euler a'"], problems=problems)


def _refused(toys: Toys, given: str, changes: dict[str, Any], *, also: list[str] | None = None) -> Outcome:
    answer = toys.ask(**changes)
    field, value = next(iter(changes.items()))
    problems = ["" if answer.status_code == 422 else f"status {answer.status_code}", toys.still_works()]
    return judge(given, told(answer), names=[field, str(value), *(also or [])], problems=problems)
