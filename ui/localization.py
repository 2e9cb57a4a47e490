"""The page's languages: one catalogue of texts by id, the translations, and the script that shows them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, Response

from schema.errors import SettingsError

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

LOCALES = Path(__file__).parent / "locales"
SCRIPT = Path(__file__).parent / "assets" / "head" / "localization.js"
ENGLISH = "None"
"""What the setting says when the page stays as it is written; A1111's value."""

NAMES = {"zh-CN": "简体中文 (zh-CN)"}
"""How a shipped language is listed; the key names its file."""

ENGLISH_NAME = "English"

ROUTE = "/page-words.js"
HEAD = f'<script src=".{ROUTE}"></script>'


@dataclass(frozen=True, kw_only=True)
class Words:
    """The page in one language.

    Attributes:
        language: BCP 47 tag for the document, as screen readers want it.
        texts: English text to translated text; `{name}` stands for any words, the same in both.
    """

    language: str
    texts: dict[str, str]


def catalogue() -> dict[str, str]:
    """Every text of the page in English, by id."""
    return _read(LOCALES / "en.json")


def languages(folders: Sequence[Path]) -> list[str]:
    """What the setting `localization` may be: English, the shipped languages, and A1111's files in `folders`."""
    found = {path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.json")}
    return [ENGLISH, *NAMES, *sorted(found - NAMES.keys())]


def listed(names: Sequence[str]) -> list[tuple[str, str]]:
    """`(what is shown, value)` for each of `languages`."""
    own = {ENGLISH: ENGLISH_NAME, **NAMES}
    return [(own.get(name, name), name) for name in names]


def words(language: str, folders: Sequence[Path]) -> Words:
    """The texts of a language.

    A file of A1111 translates English texts as its page shows them; where it is silent, English stays. Its name is
    taken for the language's tag.

    Raises:
        SettingsError: If there is no such language, or its file is damaged.

    Source: A1111 modules/localization.py (a JSON object, English text to translated text).
    """
    if language in ("", ENGLISH):
        return Words(language="en", texts={})
    if language in NAMES:
        english = catalogue()
        return Words(
            language=language, texts={english[key]: text for key, text in _read(LOCALES / f"{language}.json").items()}
        )
    for folder in folders:
        path = folder / f"{language}.json"
        if path.is_file() and path.parent == folder:
            return Words(language=language.partition(" ")[0], texts=_read(path))
    raise SettingsError(f'There is no language "{language}". Known are: {", ".join(languages(folders))}.')


def script(found: Words) -> str:
    """What runs in the page's head."""
    said = json.dumps({"language": found.language, "texts": found.texts}, ensure_ascii=False)
    return f"window.webui = window.webui || {{}}; window.webui.words = {said};\n" + SCRIPT.read_text(encoding="utf-8")


def serve_words(app: FastAPI, manager: PipelineManager) -> None:
    """Adds the route that answers with the script, in the language of the settings at that moment.

    A language that can no longer be read is English; the reason stands in the browser's console.
    """

    @app.get(ROUTE, include_in_schema=False)
    def page_words() -> Response:
        language = manager.flags.localization or manager.settings.settings.localization
        try:
            found, trouble = words(language, manager.paths.localizations), ""
        except SettingsError as error:
            found, trouble = Words(language="en", texts={}), f"console.error({json.dumps(str(error))});\n"
        return Response(trouble + script(found), media_type="text/javascript", headers={"Cache-Control": "no-cache"})


def _read(path: Path) -> dict[str, str]:
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"The translations in {path.name} cannot be read: {error}.") from error
    if not isinstance(values, dict):
        raise SettingsError(f"The translations in {path.name} are not a JSON object of texts.")
    return {str(key): text for key, text in values.items() if isinstance(text, str) and text}
