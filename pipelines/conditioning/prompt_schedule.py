"""Prompt editing: `[from:to:when]` and `[a|b]`, resolved into the text that is valid at each step."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_PLAIN = re.compile(r"(?:[^\\\[\]():|]|\\.)+")
_WHEN = re.compile(r"\s*([+-]?(?:[0-9]+[eE][+-]?[0-9]+|(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+))\s*\]")
_STRAY = "[]():"
# Groups nested deeper than this are text; nobody writes them, and they must not exhaust the interpreter's stack.
_MAX_DEPTH = 100


@dataclass(frozen=True, kw_only=True)
class StepCounts:
    """How many denoiser calls a pass makes, and how numbers in `[from:to:when]` relate to them.

    Attributes:
        base: Calls of the first pass; second-order samplers make two per step.
        hires: Calls of the hires pass when the schedule is for that pass, else None.
        old_rule: A1111's rule before 1.6: below 1 is a fraction, and the hires pass repeats the first pass's timing.
    """

    base: int
    hires: int | None = None
    old_rule: bool = False

    @property
    def steps(self) -> int:
        """Steps the schedule is written for."""
        return self.base if self.hires is None or self.old_rule else self.hires

    def switch_step(self, when: str) -> int:
        """Last step (1-based, at most `steps`) before the switch the number `when` asks for; 0 is before the first.

        A number with a dot is a fraction of the pass (1.0 to 2.0 in the hires pass), one without is a step counted
        from the beginning of the first pass.
        """
        value = float(when)
        in_hires = self.hires is not None
        if self.old_rule:
            step = value * self.steps if value < 1 else value
        elif "." in when:
            step = (value - in_hires) * self.steps
        else:
            step = value - (self.base if in_hires else 0)
        return int(max(0, min(step, self.steps)))


@dataclass(frozen=True)
class _Text:
    text: str


@dataclass(frozen=True)
class _Scheduled:
    before: "_Nodes"
    after: "_Nodes"
    when: str


@dataclass(frozen=True)
class _Alternate:
    options: "tuple[_Nodes, ...]"


_Node = _Text | _Scheduled | _Alternate
_Nodes = tuple[_Node, ...]
_Parsed = tuple[_Nodes, int]


def prompt_schedule(prompt: str, counts: StepCounts) -> tuple[tuple[int, str], ...]:
    """The texts of `prompt` over a pass, as (last step it is written for, 1-based; text); the last ends at `steps`.

    A text that is no sentence of the grammar (a backslash at the end, `|` outside of brackets) is one entry as written.
    A complete group always counts as a group, also beside stray brackets, where A1111's ambiguous grammar picks group
    or text by chance.

    Source: A1111 modules/prompt_parser.py, get_learned_conditioning_prompt_schedules.
    """
    nodes = _parse(prompt)
    if nodes is None:
        return ((counts.steps, prompt),)
    ends = {counts.steps, *_switches(nodes, counts)}
    return tuple((end, _text_at(nodes, end, counts)) for end in sorted(ends))


def _switches(nodes: _Nodes, counts: StepCounts) -> Iterator[int]:
    """The steps after which the text may change."""
    for node in nodes:
        if isinstance(node, _Scheduled):
            step = counts.switch_step(node.when)
            if step >= 1:
                yield step
            yield from _switches(node.before, counts)
            yield from _switches(node.after, counts)
        elif isinstance(node, _Alternate):
            yield from range(1, counts.steps + 1)
            for option in node.options:
                yield from _switches(option, counts)


def _text_at(nodes: _Nodes, step: int, counts: StepCounts) -> str:
    texts: list[str] = []
    for node in nodes:
        if isinstance(node, _Text):
            texts.append(node.text)
        elif isinstance(node, _Scheduled):
            shown = node.before if step <= counts.switch_step(node.when) else node.after
            texts.append(_text_at(shown, step, counts))
        else:
            texts.append(_text_at(node.options[(step - 1) % len(node.options)], step, counts))
    return "".join(texts)


@lru_cache(maxsize=64)
def _parse(prompt: str) -> _Nodes | None:
    """The whole prompt: groups where they are complete, stray brackets and colons as text; None if neither fits."""
    nodes: list[_Node] = []
    groups = _Groups(prompt)
    at = 0
    while at < len(prompt):
        found, at = groups.sequence(at)
        nodes.extend(found)
        if at < len(prompt):
            if prompt[at] not in _STRAY:
                return None
            nodes.append(_Text(prompt[at]))
            at += 1
    return tuple(nodes)


class _Groups:
    """Recursive descent over one prompt; every result is remembered by position, so unclosed brackets stay cheap."""

    def __init__(self, prompt: str) -> None:
        self.prompt = prompt
        self._known: dict[int, _Parsed | None] = {}
        self._depth = 0

    def sequence(self, at: int) -> _Parsed:
        """Plain text and complete groups from `at` up to the first character that belongs to neither."""
        nodes: list[_Node] = []
        while at < len(self.prompt):
            if plain := _PLAIN.match(self.prompt, at):
                nodes.append(_Text(plain[0]))
                at = plain.end()
                continue
            group = self._group(at)
            if group is None:
                break
            nodes.extend(group[0])
            at = group[1]
        return tuple(nodes), at

    def _group(self, at: int) -> _Parsed | None:
        if at not in self._known:
            readers = {"(": self._emphasis, "[": self._square}
            reader = readers.get(self.prompt[at]) if self._depth < _MAX_DEPTH else None
            self._depth += 1
            self._known[at] = reader(at) if reader else None
            self._depth -= 1
        return self._known[at]

    def _next(self, at: int) -> str:
        return self.prompt[at : at + 1]

    def _emphasis(self, at: int) -> _Parsed | None:
        """`(text)` or `(text:text)`: kept as written around whatever is inside."""
        inside, end = self.sequence(at + 1)
        nodes: _Nodes = (_Text("("), *inside)
        if self._next(end) == ":":
            inside, end = self.sequence(end + 1)
            nodes = (*nodes, _Text(":"), *inside)
        return ((*nodes, _Text(")")), end + 1) if self._next(end) == ")" else None

    def _square(self, at: int) -> _Parsed | None:
        """`[text]`, `[to:when]`, `[from:to:when]` or `[a|b|…]`."""
        first, end = self.sequence(at + 1)
        delimiter = self._next(end)
        if delimiter == "]":
            return (_Text("["), *first, _Text("]")), end + 1
        if delimiter == "|":
            return self._alternate(first, end)
        if delimiter != ":":
            return None
        if when := _WHEN.match(self.prompt, end + 1):
            return (_Scheduled((), first, when[1]),), when.end()
        second, end = self.sequence(end + 1)
        if self._next(end) == ":" and (when := _WHEN.match(self.prompt, end + 1)):
            return (_Scheduled(first, second, when[1]),), when.end()
        return None

    def _alternate(self, first: _Nodes, end: int) -> _Parsed | None:
        options = [first]
        while self._next(end) == "|":
            option, end = self.sequence(end + 1)
            options.append(option)
        return ((_Alternate(tuple(options)),), end + 1) if self._next(end) == "]" else None
