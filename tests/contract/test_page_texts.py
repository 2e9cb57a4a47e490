"""What the built page shows before anything happens is in the catalogue of texts, or a name."""

import re
from collections.abc import Iterator

import pytest

from preprocessors.catalogue import PREPROCESSORS
from schema.fields import fields_of
from schema.requests import LATENT_UPSCALE_MODES, SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULE
from schema.settings import Settings
from schema.store import SettingsStore
from tests.contract.fake_manager import FakeManager
from tools.catalogue import shown
from ui.app import build_ui
from ui.localization import NAMES, catalogue

HIDDEN = re.compile(r"button (?:keep_(?:read|write)_\w+|\w+_controlnet_(?:fetch|renew|pictures)|controlnet_pose_send)")
"""Buttons that scripts press; nobody sees them."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeManager, list[tuple[str, str]]]]:
    folder = tmp_path_factory.mktemp("data")
    manager = FakeManager(folder / "outputs", settings=SettingsStore(folder / "config.json"))
    yield manager, list(shown(build_ui(manager).get_config_file()))  # type: ignore[arg-type]


def names(manager: FakeManager) -> set[str]:
    """What is called the same in every language: models, methods, options' keys, languages."""
    lists = {entry for entries in manager.lists.values() for entry in entries}
    downloads = {entry.name for entry in manager.curated()}
    return {
        *lists,
        *downloads,
        *(field.name for field in fields_of(Settings)),
        *(entry.label for entry in PREPROCESSORS),
        *NAMES.values(),
    }


def known_texts() -> re.Pattern[str]:
    """Matches what the page's script would find: a text as it is, or a sentence with something filled in."""
    each = (".+?".join(map(re.escape, re.split(r"\{\w*\}", text))) for text in catalogue().values())
    return re.compile("|".join(each), re.DOTALL)


def test_every_text_of_the_page_is_in_the_catalogue_or_a_name(page: tuple[FakeManager, list[tuple[str, str]]]):
    manager, texts = page
    known, allowed = known_texts(), names(manager)
    missing = {
        text: place
        for place, text in texts
        if not HIDDEN.fullmatch(place)
        # An entry of the list of models to get is a name with its size.
        and text.partition(" · ")[0] not in allowed
        and not known.fullmatch(text)
    }
    assert missing == {}


def test_words_among_the_names_of_a_list_are_in_the_catalogue_too():
    words = {*LATENT_UPSCALE_MODES, SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULE, "Automatic", "None"}
    assert words - set(catalogue().values()) == set()


def test_the_page_says_enough_for_the_search_to_mean_something(page: tuple[FakeManager, list[tuple[str, str]]]):
    _manager, texts = page
    shown_texts = {text for _place, text in texts}
    assert shown_texts >= {"Generate", "Drop a picture here", "Sampling method", "Saving images/grids"}
    assert len(shown_texts) > 600
