"""The Settings page shows what acts: every shown option is read somewhere, and every one that is read is shown."""

from __future__ import annotations

import re
from pathlib import Path

from schema.fields import fields_of
from schema.settings import NOT_SHOWN, Settings

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("pipelines", "api", "ui", "preprocessors", "schema")
ONLY_NAMED = {
    "schema/settings.py",  # declares them
    "schema/store.py",  # renames old keys
    "ui/settings.py",  # hands them on to the page's scripts
    "pipelines/scripts/axes.py",  # overrides them for a cell
}
"""Files in which an option's name is no proof that it acts."""

WRITTEN_ONLY = {"fp8_storage", "cache_fp16_weight"}
"""Options whose name in `schema/record.py` is only written down where another program used them."""


def sources() -> dict[str, str]:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".js")]
    return {
        name: path.read_text(encoding="utf-8")
        for path in files
        if (name := path.relative_to(ROOT).as_posix()) not in ONLY_NAMED
    }


def read_options() -> set[str]:
    """Options that some source asks for, as an attribute or by a quoted name."""
    text = "\n".join(sources().values())
    asked = set(re.findall(r"""(?:\.|["'])([A-Za-z]\w+)\b(?!\()""", text))
    asked |= set(re.findall(r"^ +(\w+): \"", text, re.MULTILINE))  # keys of a script's table
    return {field.name for field in fields_of(Settings)} & asked - WRITTEN_ONLY


def test_every_option_on_the_settings_page_is_read_by_something() -> None:
    hidden = {field.name for field in fields_of(Settings) if field.control.kind == "hidden"}
    shown = {field.name for field in fields_of(Settings)} - NOT_SHOWN - hidden
    assert shown - read_options() == set()


def test_every_option_that_is_read_is_on_the_settings_page() -> None:
    assert NOT_SHOWN & read_options() == set()


def test_options_that_are_not_shown_keep_their_values() -> None:
    assert Settings.model_fields.keys() >= NOT_SHOWN
    assert Settings().overridden({"temp_dir": "elsewhere"}, restricted=True).temp_dir == "elsewhere"
