"""Options: A1111's keys, defaults and infotext names, and how values become theirs."""

import json
from pathlib import Path

import pytest

from schema.errors import SettingsError
from schema.fields import fields_of
from schema.settings import OPTION_INFOTEXT, WITHOUT_EFFECT, Settings, cast_value

DATA = Path(__file__).resolve().parent.parent / "data" / "pure"
OPTIONS = {
    case["input"]: case["output"] for case in json.loads((DATA / "options.json").read_text(encoding="utf-8"))["cases"]
}
OTHER_DEFAULTS = {
    "export_for_4chan",
    "api_enable_requests",
    "live_previews_image_format",
    "hires_fix_show_sampler",
    "hires_fix_show_prompts",
}


def test_every_key_of_a1111_is_an_option_or_known_to_have_no_effect():
    assert not set(OPTIONS) - set(Settings.model_fields) - WITHOUT_EFFECT
    assert not WITHOUT_EFFECT & set(Settings.model_fields)


def test_defaults_are_those_of_a1111():
    settings = Settings().model_dump(mode="json")
    differing = {key for key in set(OPTIONS) & set(settings) if settings[key] != OPTIONS[key]["default"]}
    assert differing == OTHER_DEFAULTS


def test_infotext_names_are_those_of_a1111():
    expected = {entry["infotext"]: key for key, entry in OPTIONS.items() if entry["infotext"]}
    assert dict(OPTION_INFOTEXT) == expected


def test_every_option_is_on_a_page_and_has_a_label_of_its_own_there():
    shown = [(field.control.section, field.control.label) for field in fields_of(Settings)]
    assert len(shown) == len(Settings.model_fields) == len(set(shown))
    assert all(section for section, _ in shown)


def test_paths_and_network_are_restricted():
    restricted = {field.name for field in fields_of(Settings) if field.control.restricted}
    assert {key for key in Settings.model_fields if key.startswith(("outdir_", "api_"))} < restricted
    assert "temp_dir" in restricted


def test_override_changes_a_copy_and_passes_over_what_it_may_not_change():
    settings = Settings()
    changed = settings.overridden(
        {"CLIP_stop_at_last_layers": "2", "outdir_samples": "/etc", "nonsense": 1, "font": "x", "rho": None}
    )
    assert (changed.CLIP_stop_at_last_layers, settings.CLIP_stop_at_last_layers) == (2, 1)
    assert changed.outdir_samples == "" and changed.rho == 0.0
    notes = settings.override_notes({"outdir_samples": "/etc", "nonsense": 1, "font": "x", "tiling": True})
    assert len(notes) == 3 and all(any(key in note for note in notes) for key in ("outdir_samples", "nonsense", "font"))
    assert settings.overridden({"outdir_samples": "here"}, restricted=True).outdir_samples == "here"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("tiling", "False", False),
        ("tiling", "True", True),
        ("face_restoration", "CodeFormer", True),
        ("eta_noise_seed_delta", "31337", 31337),
        ("eta_noise_seed_delta", "3.0", 3),
        ("sigma_min", "0.05", 0.05),
        ("sigma_min", 2, 2.0),
        ("hide_samplers", ["a", "b"], ("a", "b")),
        ("hide_samplers", "a, b", ("a", "b")),
        ("sd_model_checkpoint", "model [123]", "model [123]"),
        ("sd_vae", "x.safetensors", "x.safetensors"),
    ],
)
def test_value_is_cast_to_the_type_of_its_option(key, value, expected):
    cast = cast_value(key, value)
    assert cast == expected and type(cast) is type(expected)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("CLIP_stop_at_last_layers", "13"),
        ("jpeg_quality", 0),
        ("rho", "much"),
        ("eta_noise_seed_delta", "inf"),
        ("eta_noise_seed_delta", [1]),
        ("randn_source", "TPU"),
        ("hide_samplers", 5),
    ],
)
def test_value_that_cannot_be_used_is_refused_with_its_key(key, value):
    with pytest.raises(SettingsError, match=key):
        Settings().overridden({key: value})


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="frozen"):
        Settings().tiling = True
