"""The page's catalogue of texts, its translations, and A1111's files of translations."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from schema.errors import SettingsError
from schema.flags import Flags
from schema.settings import Settings
from tools import catalogue as tool
from ui.localization import ENGLISH, LOCALES, NAMES, ROUTE, catalogue, languages, listed, script, serve_words, words

PLACEHOLDER = re.compile(r"\{\w*\}")
LANGUAGES = sorted(NAMES)


def read(language: str) -> dict[str, str]:
    return json.loads((LOCALES / f"{language}.json").read_text(encoding="utf-8"))


def served(folder: Path, language: str, flag: str = "") -> str:
    manager = SimpleNamespace(
        flags=Flags(data_dir=folder, localization=flag or None),
        settings=SimpleNamespace(settings=Settings(localization=language)),
        paths=SimpleNamespace(localizations=(folder,)),
    )
    app = FastAPI()
    serve_words(app, manager)  # type: ignore[arg-type]
    answer = TestClient(app).get(ROUTE)
    assert answer.headers["content-type"].startswith("text/javascript")
    return answer.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_every_text_of_the_catalogue_and_no_other(language: str):
    assert read(language).keys() == catalogue().keys(), "run: python -m tools.catalogue"


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_no_text_is_empty_or_has_spaces_around_it(language: str):
    assert [key for key, text in read(language).items() if not text or text != text.strip()] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_fills_in_what_the_english_text_fills_in(language: str):
    translated = read(language)
    wrong = {
        key: (text, translated[key])
        for key, text in catalogue().items()
        if sorted(PLACEHOLDER.findall(text)) != sorted(PLACEHOLDER.findall(translated[key]))
    }
    assert wrong == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_the_same_in_a_translation_is_a_proper_name_and_in_no_catalogue(language: str):
    translated = read(language)
    assert [text for key, text in catalogue().items() if translated[key] == text] == []


def test_the_catalogue_has_every_text_once():
    texts = list(catalogue().values())
    assert sorted({text for text in texts if texts.count(text) > 1}) == []


def test_every_declared_label_hint_and_static_choice_is_in_the_catalogue():
    texts = set(catalogue().values())
    assert {key: text for key, text in tool.declared().items() if text not in texts} == {}


def test_every_text_that_the_modules_of_the_page_write_out_is_in_the_catalogue():
    texts = set(catalogue().values())
    assert {key: text for key, text in tool.written().items() if text not in texts} == {}


def test_the_catalogue_has_no_text_that_was_taken_out_of_the_page():
    assert tool.catalogue(catalogue()).keys() == catalogue().keys(), "run: python -m tools.catalogue"


def test_new_texts_are_found_in_constants_tables_calls_and_raised_errors(tmp_path: Path):
    (tmp_path / "sample.py").write_text(
        'SAVE, STOP = "Save it now", "Stop"\nELEM_ID = "sample_id"\nWORDS = {"on": "lit", "way": "Go {way}"}\n'
        'HEAD = "<h3>A heading</h3><p title=\\"A hint\\">Words</p>"\n'
        'def show(name):\n    gr.Button("Press", elem_id="press_it")\n'
        '    gr.Slider(label="How far", info="In pixels.")\n'
        '    raise ValueError(f"There is no {name}.")\n',
        encoding="utf-8",
    )
    assert tool.written(tmp_path) == {
        "page.sample.save": "Save it now",
        "page.sample.stop": "Stop",
        "page.sample.words.on": "lit",
        "page.sample.words.way": "Go {way}",
        "page.sample.head": "A heading",
        "page.sample.head-2": "A hint",
        "page.sample.head-3": "Words",
        "page.sample.press": "Press",
        "page.sample.how-far": "How far",
        "page.sample.in-pixels": "In pixels.",
        "page.sample.there-is-no-name": "There is no {name}.",
    }


def test_a_translation_follows_its_english_text_to_another_id():
    assert tool.translated({"new.id": "Generate", "other": "Stop"}, {"Generate": "生成"}) == {"new.id": "生成"}


def test_the_shipped_chinese_translates_the_english_text_of_each_id(tmp_path: Path):
    found = words("zh-CN", [tmp_path])
    assert found.language == "zh-CN"
    assert found.texts["Generate"] == "生成"
    assert found.texts["{count} of {limit} tokens"].count("{") == 2


@pytest.mark.parametrize("language", ["", ENGLISH])
def test_english_needs_no_texts(language: str, tmp_path: Path):
    found = words(language, [tmp_path])
    assert (found.language, found.texts) == ("en", {})


def test_a_file_of_a1111_is_offered_and_read(tmp_path: Path):
    (tmp_path / "de_DE.json").write_text('{"Generate": "Erzeugen", "Skip": "", "n": 3}', encoding="utf-8-sig")
    assert languages([tmp_path, tmp_path / "none"]) == [ENGLISH, *NAMES, "de_DE"]
    assert listed(languages([tmp_path]))[::2] == [("English", ENGLISH), ("de_DE", "de_DE")]
    assert words("de_DE", [tmp_path]).texts == {"Generate": "Erzeugen"}


@pytest.mark.parametrize("name", ["xx", "../secret", "sub/name"])
def test_a_language_that_is_no_file_of_the_folder_is_refused(name: str, tmp_path: Path):
    folder = tmp_path / "localizations"
    (folder / "sub").mkdir(parents=True)
    for path in (tmp_path / "secret.json", folder / "sub" / "name.json"):
        path.write_text('{"Generate": "Erzeugen"}', encoding="utf-8")
    with pytest.raises(SettingsError, match="There is no language"):
        words(name, [folder])


@pytest.mark.parametrize("content", ["{", "[1, 2]", b"\xff\xfe\x00"])
def test_a_damaged_file_leaves_the_page_english_and_tells_the_console_why(content: str | bytes, tmp_path: Path):
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "de.json").write_bytes(data)
    found = served(tmp_path, "de")
    assert found.startswith('console.error("The translations in de.json')
    assert '"language": "en", "texts": {}' in found


def test_the_flag_wins_over_the_setting(tmp_path: Path):
    (tmp_path / "de.json").write_text('{"Generate": "Erzeugen"}', encoding="utf-8")
    assert "Erzeugen" in served(tmp_path, "zh-CN", flag="de")
    assert "生成" in served(tmp_path, "zh-CN")


def test_a_translation_cannot_end_the_script_or_leave_its_string(tmp_path: Path):
    (tmp_path / "de.json").write_text(json.dumps({"Generate": '";alert(1);//\u2028'}), encoding="utf-8")
    first = script(words("de", [tmp_path])).partition("\n")[0]
    assert json.loads(first.partition("window.webui.words = ")[2].removesuffix(";"))["texts"] == {
        "Generate": '";alert(1);//\u2028'
    }


def test_a_shipped_language_is_known_by_its_tag():
    assert all((LOCALES / f"{tag}.json").is_file() and tag in name for tag, name in NAMES.items())
