"""The prompt language: attention weights, BREAK, AND, comments. Pure text in, plain values out."""

import re
from dataclasses import dataclass

from schema.errors import PromptError

ROUND_WEIGHT = 1.1
SQUARE_WEIGHT = 1 / 1.1
BREAK = "BREAK"
BREAK_WEIGHT = -1.0

_BREAK_WORD = re.compile(r"\s*\bBREAK\b\s*")
_AND_WORD = re.compile(r"\bAND\b")
_PART = re.compile(r"(?s)(.*?)(?:\s*:\s*([-+]?(?:\d+\.?|\d*\.\d+)))?\s*")
_COMMENT_LINE = re.compile(r"(?:^|\n)#[^\n]*(?:\n|$)")
_COMMENT = re.compile(r"#[^\n]*(?:\n|$)")
# Alternatives in the order they are tried at each position.
_ATTENTION = re.compile(
    r"""\\(?P<escaped>[()\[\]\\]?)
      | (?P<open>[(\[])
      | :\s*(?P<weight>[+-]?[.\d]+)\s*\)
      | (?P<close>[)\]])
      | (?P<text>[^\\()\[\]:]+ | :)""",
    re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True)
class WeightedText:
    """A piece of a prompt with one attention weight; `BREAK` at `BREAK_WEIGHT` ends a chunk."""

    text: str
    weight: float = 1.0

    @property
    def is_break(self) -> bool:
        """Whether this piece ends the chunk. BREAK inside brackets has another weight and is ordinary text."""
        return self.text == BREAK and self.weight == BREAK_WEIGHT


@dataclass(frozen=True, kw_only=True)
class PromptPart:
    """One side of AND: its text as written and the weight behind its colon."""

    text: str
    weight: float = 1.0


class _Weights:
    """Pieces read so far, and where the open brackets of each kind began."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.weights: list[float] = []
        self.open: dict[str, list[int]] = {"(": [], "[": []}

    def add(self, text: str) -> None:
        for index, piece in enumerate(_BREAK_WORD.split(text)):
            if index:
                self._append(BREAK, BREAK_WEIGHT)
            self._append(piece, 1.0)

    def add_literal(self, text: str) -> None:
        self._append(text, 1.0)

    def multiply_since(self, start: int, factor: float) -> None:
        for index in range(start, len(self.weights)):
            self.weights[index] *= factor

    def _append(self, text: str, weight: float) -> None:
        self.texts.append(text)
        self.weights.append(weight)

    def merged(self) -> list[WeightedText]:
        pieces: list[WeightedText] = []
        for text, weight in zip(self.texts, self.weights, strict=True):
            if pieces and pieces[-1].weight == weight:
                pieces[-1] = WeightedText(text=pieces[-1].text + text, weight=weight)
            else:
                pieces.append(WeightedText(text=text, weight=weight))
        return pieces or [WeightedText(text="")]


def parse_attention(prompt: str) -> list[WeightedText]:
    """The pieces of `prompt` with their attention weights, neighbours of equal weight joined; at least one piece.

    `(a)` weighs 1.1, `(a:1.5)` the number, `[a]` 1/1.1, nested brackets multiply, unclosed ones reach to the end,
    a backslash makes a bracket literal, and the word BREAK becomes a piece of its own.

    Raises:
        PromptError: If a weight is digits and dots that are no number, such as `(a:1.2.3)`.

    Source: A1111 modules/prompt_parser.py, parse_prompt_attention.
    """
    found = _Weights()
    for match in _ATTENTION.finditer(prompt):
        kind = match.lastgroup
        token = match[0]
        if kind == "escaped":
            found.add_literal(match["escaped"])
        elif kind == "open":
            found.open[token].append(len(found.texts))
        elif kind == "weight" and found.open["("]:
            found.multiply_since(found.open["("].pop(), _number(match["weight"]))
        elif kind == "close" and found.open["(" if token == ")" else "["]:
            bracket = "(" if token == ")" else "["
            found.multiply_since(found.open[bracket].pop(), ROUND_WEIGHT if bracket == "(" else SQUARE_WEIGHT)
        else:
            found.add(token)
    for bracket, factor in (("(", ROUND_WEIGHT), ("[", SQUARE_WEIGHT)):
        for start in found.open[bracket]:
            found.multiply_since(start, factor)
    return found.merged()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise PromptError(f"'{text}' in the prompt is not a weight. Write a number such as (word:1.2).") from None


def split_and(prompt: str) -> tuple[PromptPart, ...]:
    """The parts of `prompt` between the whole words AND, at least one.

    A colon and a number at the end of a part is its weight, also in a prompt without AND; whitespace in front of a
    part stays. Brackets are not looked at, so AND inside brackets splits too.

    Source: A1111 modules/prompt_parser.py, get_multicond_prompt_list.
    """
    parts: list[PromptPart] = []
    for text in _AND_WORD.split(prompt):
        match = _PART.fullmatch(text)
        assert match is not None, text
        parts.append(PromptPart(text=match[1], weight=float(match[2]) if match[2] else 1.0))
    return tuple(parts)


def remove_comments(prompt: str) -> str:
    """`prompt` without `#` comments: each, with the line end behind it, becomes one line end.

    Source: A1111 modules/processing_scripts/comments.py, strip_comments.
    """
    return _COMMENT.sub("\n", _COMMENT_LINE.sub("\n", prompt))
