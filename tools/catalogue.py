"""Keeps the page's texts: `python -m tools.catalogue` finds them all, writes en.json and names what is untranslated.

A text is written down once, under the id of the first place that shows it. Translations follow their English text when
an id changes. `--take FILE` adds translations to a language: a JSON object of English text to translation, which is
also what A1111's `localizations/*.json` are.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipelines.scripts.catalogue import SCRIPTS
from preprocessors.catalogue import PREPROCESSORS
from schema.controlnet import ControlNetUnit
from schema.extras import ExtrasRequest
from schema.fields import Control
from schema.requests import Img2ImgRequest, Txt2ImgRequest
from schema.settings import NOT_SHOWN, Settings
from ui.form import Form
from ui.localization import LOCALES, NAMES

ROOT = Path(__file__).resolve().parent.parent
OWN = ("own.", "engine.")
"""Beginnings of the ids of texts that no search finds; they are written down by hand and kept."""

ATTRIBUTES = ("title", "aria-label", "placeholder", "alt")
PROPER = frozenset(
    line.strip() for line in (Path(__file__).parent / "proper_names.txt").read_text(encoding="utf-8").splitlines()
)
"""Texts that are the same in every language: names of methods, models, formats and programs."""

SHOWN_ARGUMENTS = frozenset({"label", "info", "placeholder", "title"})
"""Arguments of calls that say what the page shows."""

NAMED_FIRST = frozenset({"Accordion", "Button", "UploadButton", "Tab", "tool_button", "_tab", "picture_input"})
"""Calls whose first argument is a text."""

TABLES = ("words.",)
"""Constants whose entries are texts, however short."""

WITHOUT_TEXTS = frozenset({"theme", "localization", "events", "__init__"})
"""Modules of the page that say nothing."""

_PLACEHOLDER = re.compile(r"\{\w*\}")
_CAPITALS = re.compile(r"\b(?:WIDTH|HEIGHT|WIDER|HIGHER|KEY)\b")
_CODE = re.compile(r"=>|[{;]\s*\n|</script|^[#.\[(]|^\S*[_/#]\S*$|^[a-z0-9]+(?:[-.:][a-z0-9]+)+$|^[A-Z_]+$", re.DOTALL)
_TAG = re.compile(r"</?(?:a|b|br|button|details|div|h[1-6]|li|nav|ol|p|span|strong|summary|table|td|th|tr|ul)\b[^>]*>")
_WORD = re.compile(r"[a-z0-9]+")
"""One word in small letters is a name in the program, unless a table of texts has it."""


def is_text(words: str) -> bool:
    """Whether `words` would be translated: it has a word of letters and is no name."""
    words = words.strip()
    return words not in PROPER and any(len(word) > 1 for word in re.findall(r"[^\W\d_]+", _PLACEHOLDER.sub("", words)))


# ---- what is declared ----


def declared() -> dict[str, str]:
    """Id → text of every declared option, field, argument and static choice that a control can show."""
    found: dict[str, str] = {}
    for key, text in _declared():
        if is_text(text) and text not in found.values():
            found[key] = text
    return found


def _declared() -> Iterator[tuple[str, str]]:
    settings = Form(Settings, "", _no_choices)
    for name in settings.names:
        control = settings.field(name).control
        if name not in NOT_SHOWN and control.kind != "hidden":
            yield f"section.{_slug(control.section or '')}", control.section or ""
            yield from _of_control(f"setting.{name}", control)
    models: tuple[tuple[str, type[BaseModel]], ...] = (
        ("field", Txt2ImgRequest),
        ("field", Img2ImgRequest),
        ("extras", ExtrasRequest),
        ("controlnet", ControlNetUnit),
    )
    for group, model in models:
        form = Form(model, "", _no_choices)
        for name in form.names:
            control = form.field(name).control
            if control.kind != "hidden":
                yield from _of_control(f"{group}.{name}", control)
    yield from _of_scripts()
    for entry in PREPROCESSORS:
        for number, slider in enumerate((entry.resolution, entry.slider(1), entry.slider(2))):
            if slider is not None:
                yield f"preprocessor.{_slug(entry.name)}.{number}", slider.label
        yield f"preprocessor.{_slug(entry.name)}.note", entry.note
        yield f"preprocessor.{_slug(entry.name)}.unavailable", entry.unavailable


def _of_control(key: str, control: Control) -> Iterator[tuple[str, str]]:
    yield f"{key}.label", control.label
    yield f"{key}.info", control.info or ""
    yield f"{key}.placeholder", control.placeholder
    if isinstance(control.choices, tuple):
        yield from ((f"{key}.choice.{number}", text) for number, text in enumerate(control.choices))


def _of_scripts() -> Iterator[tuple[str, str]]:
    for script in SCRIPTS:
        key = f"script.{_slug(script.name)}"
        yield f"{key}.title", script.name
        for argument in (*script.arguments_for("txt2img"), *script.arguments_for("img2img")):
            own = f"{key}.{argument.name or 'note'}"
            yield f"{own}.label", argument.label
            yield f"{own}.placeholder", argument.placeholder
            if argument.note:
                yield f"{own}.text", str(argument.default)
            if isinstance(argument.choices, tuple):
                yield from ((f"{own}.choice.{_slug(text)}", text) for text in argument.choices)
        for tool in script.tools:
            yield f"{key}.{tool.name}.label", tool.label


def _no_choices(_name: str) -> list[str]:
    return []


# ---- what the page's modules say ----


def written(folder: Path = ROOT / "ui") -> dict[str, str]:
    """Id → text of everything that the modules in `folder` write out as shown."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.py")):
        if path.stem in WITHOUT_TEXTS:
            continue
        for name, text in _of_module(ast.parse(path.read_text(encoding="utf-8"))):
            for part in parts_of(text):
                shown = is_text(part) and (name.startswith(TABLES) or not _WORD.fullmatch(part))
                if shown and not _CODE.search(part) and part not in found.values():
                    found[_free(f"page.{path.stem}.{_slug(name or part)}", found)] = part
    return found


def _of_module(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            yield from _of_assignment(statement.targets[0], statement.value)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            yield from _of_assignment(statement.target, statement.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _of_call(node)
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield from (("", text) for argument in node.exc.args[:1] for text in _text(argument))
        elif isinstance(node, ast.Return) and node.value is not None:
            yield from (("", text) for text in _text(node.value) if _is_sentence(text))


def _of_assignment(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, str]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, its in zip(target.elts, value.elts, strict=True):
            yield from _of_assignment(one, its)
    elif isinstance(target, ast.Name) and target.id.isupper():
        yield from _of_value(target.id.lower(), value)


def _of_value(name: str, value: ast.expr) -> Iterator[tuple[str, str]]:
    if isinstance(value, ast.Dict):
        for key, each in zip(value.keys, value.values, strict=True):
            inner = key.value if isinstance(key, ast.Constant) else getattr(key, "attr", "")
            yield from _of_value("" if inner is None else f"{name}.{inner}", each)
    elif isinstance(value, ast.Tuple | ast.List):
        for each in value.elts:
            yield from _of_value("", each)
    else:
        # What ends in a space or a hyphen is the beginning of something else.
        whole = [text for text in _text(value) if not text.endswith((" ", "-"))]
        yield from ((name, text) for text in whole if name or text[:1].isupper())


def _of_call(call: ast.Call) -> Iterator[tuple[str, str]]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = [keyword.value for keyword in call.keywords if keyword.arg in SHOWN_ARGUMENTS]
    if name in NAMED_FIRST:
        given += call.args[:1]
    if name == "mode":
        given += call.args[1:2]
    if name == "HTML":
        given += call.args[:1]
    yield from (("", text) for value in given for text in _text(value))


def _text(value: ast.expr) -> list[str]:
    """The text of a literal, with `{name}` where something is filled in; nothing for other expressions."""
    if isinstance(value, ast.Constant):
        return [value.value] if isinstance(value.value, str) else []
    if isinstance(value, ast.JoinedStr):
        pieces = [
            piece.value if isinstance(piece, ast.Constant) else f"{{{_name_of(piece)}}}"
            for piece in value.values
            if isinstance(piece, ast.Constant | ast.FormattedValue)
        ]
        return ["".join(str(piece) for piece in pieces)]
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        sides = [(_text(side) or [f"{{{_name_of(side)}}}"])[0] for side in (value.left, value.right)]
        return ["".join(sides)] if _text(value.left) or _text(value.right) else []
    return []


def _name_of(piece: ast.expr) -> str:
    named = next((node for node in ast.walk(piece) if isinstance(node, ast.Attribute | ast.Name)), None)
    return (named.attr if isinstance(named, ast.Attribute) else named.id if named else "value").lower()


def _is_sentence(text: str) -> bool:
    return " " in text.strip() and text.strip()[:1].isupper()


# ---- what a built page shows ----


class _Markup(HTMLParser):
    """Collects the text nodes of a piece of HTML, and its attributes that people see or hear."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._verbatim: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Takes the attributes."""
        self.texts += [value for name, value in attrs if name in ATTRIBUTES and value]
        if self._verbatim or tag in ("style", "script", "pre", "code") or any("verbatim" in name for name, _ in attrs):
            self._verbatim += [] if tag in ("br", "img", "input", "hr") else [tag]

    def handle_endtag(self, tag: str) -> None:
        """Leaves an element that stays as it is."""
        if self._verbatim and self._verbatim[-1] == tag:
            self._verbatim.pop()

    def handle_data(self, data: str) -> None:
        """Takes a text node."""
        if not self._verbatim:
            self.texts.append(data)


def parts_of(text: str) -> list[str]:
    """The texts that a browser shows for `text`: its text nodes and attributes where it is HTML."""
    text = _CAPITALS.sub(lambda found: f"{{{found[0].lower()}}}", text)
    if not _TAG.search(text):
        return [text.strip()]
    markup = _Markup()
    markup.feed(text)
    markup.close()
    return [stripped for part in markup.texts if (stripped := unescape(part).strip())]


def shown(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(place, text) for everything that a page with this configuration shows before anything happens."""
    for component in config["components"]:
        kind, props = component["type"], component["props"]
        place = f"{kind} {props.get('elem_id') or component['id']}"
        texts = [props.get(name) for name in ("label", "info", "placeholder")]
        if "button" in kind:
            texts.append(props.get("value"))
        if kind in ("html", "markdown"):
            texts += parts_of(str(props.get("value") or ""))
        texts += (props.get("props") or {}).get("words", {}).values() if kind == "html" else ()
        texts += [each[0] if isinstance(each, list | tuple) else each for each in props.get("choices") or ()]
        for text in texts:
            if isinstance(text, str) and is_text(text):
                yield place, text.strip()


# ---- the files ----


def catalogue(kept: Mapping[str, str]) -> dict[str, str]:
    """Every text of the page by id; `kept` are the entries so far, of which those written by hand stay."""
    found = declared()
    for key, text in (*written().items(), *((key, text) for key, text in kept.items() if key.startswith(OWN))):
        if text not in found.values():
            found[key] = text
    return found


def translated(english: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """The ids of `english` with their texts in another language; those not in `known` are left out."""
    return {key: known[text] for key, text in english.items() if known.get(text)}


def _slug(words: str) -> str:
    slug = re.sub(r"[^a-z0-9_.]+", "-", words.lower()).strip("-.")
    return slug if len(slug) <= 48 else slug[:48].rpartition("-")[0]


def _free(key: str, taken: Iterable[str]) -> str:
    taken = set(taken)
    return next(each for number in range(1, 1000) if (each := key if number == 1 else f"{key}-{number}") not in taken)


def _read(path: Path) -> dict[str, str]:
    return json.loads(path.read_text(encoding="utf-8-sig")) if path.is_file() else {}


def _write(path: Path, texts: Mapping[str, str]) -> None:
    path.write_text(json.dumps(texts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Writes all languages anew; 1 when one of them lacks a text."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--language", default=next(iter(NAMES)), help="language that --take adds to")
    parser.add_argument("--take", type=Path, help="JSON object of English text to translation")
    args = parser.parse_args()
    before = _read(LOCALES / "en.json")
    english = catalogue(before)
    lacking = 0
    for language in NAMES:
        path = LOCALES / f"{language}.json"
        known = {before[key]: text for key, text in _read(path).items() if key in before}
        if args.take and language == args.language:
            known |= _read(args.take)
        texts = translated(english, known)
        _write(path, texts)
        for key in english.keys() - texts.keys():
            print(f"{language} lacks {key}: {english[key]!r}")
            lacking += 1
    _write(LOCALES / "en.json", english)
    print(f"{len(english)} texts; {lacking} translations are missing.")
    return 1 if lacking else 0


if __name__ == "__main__":
    raise SystemExit(main())
