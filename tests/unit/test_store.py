"""config.json and ui-config.json: what survives saving, damage, old releases and crashes."""

import json
import os
import threading
from pathlib import Path

import pytest

from schema.atomic import remove_stale_files, temporary_file, write_atomically
from schema.errors import OutputError, SettingsError
from schema.settings import Settings
from schema.store import BACKUPS, SettingsStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.json"


def test_missing_file_gives_defaults_and_is_not_made(path: Path):
    store = SettingsStore(path)
    assert store.settings == Settings() and store.notes == () and not path.exists()


def test_saved_settings_are_read_back_with_keys_of_other_tools(path: Path):
    path.write_text(json.dumps({"adetailer_models": 3, "CLIP_stop_at_last_layers": 2, "sd_lora": "None"}))
    store = SettingsStore(path)
    store.update({"hide_samplers": ["PLMS"], "randn_source": "CPU"})
    again = SettingsStore(path)
    assert again.settings == store.settings and again.settings.hide_samplers == ("PLMS",)
    written = json.loads(path.read_text(encoding="utf-8"))
    assert (written["adetailer_models"], written["sd_lora"], written["CLIP_stop_at_last_layers"]) == (3, "None", 2)


def test_snapshot_in_use_does_not_change(path: Path):
    store = SettingsStore(path)
    before = store.settings
    store.update({"tiling": True})
    assert not before.tiling and store.settings.tiling


def test_bad_value_in_the_file_keeps_its_default_and_is_named(path: Path):
    path.write_text(json.dumps({"jpeg_quality": "best", "tiling": True}))
    store = SettingsStore(path)
    assert store.settings.jpeg_quality == 80 and store.settings.tiling
    assert len(store.notes) == 1 and "jpeg_quality" in store.notes[0]


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe\x00", b"", b"[" * 100_000, b'{"a": "\xff"}'])
def test_damaged_file_is_set_aside_and_named(path: Path, content: bytes):
    path.write_bytes(content)
    store = SettingsStore(path)
    [aside] = path.parent.glob("config.json.damaged-*")
    assert aside.read_bytes() == content and aside.name in store.notes[0] and store.settings == Settings()
    store.update({"tiling": True})
    assert SettingsStore(path).settings.tiling


def test_damaged_file_gives_way_to_its_newest_backup(path: Path):
    store = SettingsStore(path)
    for quality in (50, 60, 70):
        store.update({"jpeg_quality": quality})
    path.write_text("{")
    store = SettingsStore(path)
    assert store.settings.jpeg_quality == 60 and "config.json.bak1" in store.notes[0]


def test_only_the_last_backups_are_kept_and_saving_the_same_makes_none(path: Path):
    store = SettingsStore(path)
    for quality in range(1, BACKUPS + 5):
        store.update({"jpeg_quality": quality})
        store.save()
    backups = sorted(path.parent.glob("config.json.bak*"))
    qualities = [json.loads(backup.read_text(encoding="utf-8"))["jpeg_quality"] for backup in backups]
    assert qualities == [BACKUPS + 3, BACKUPS + 2, BACKUPS + 1]


def test_refused_value_changes_nothing(path: Path):
    store = SettingsStore(path)
    with pytest.raises(SettingsError):
        store.update({"tiling": True, "jpeg_quality": 1000})
    assert not store.settings.tiling and not path.exists()


@pytest.mark.parametrize(
    ("old", "key", "expected"),
    [
        ({"quicksettings": "sd_model_checkpoint, sd_vae"}, "quicksettings_list", ("sd_model_checkpoint", "sd_vae")),
        ({"ui_reorder": "sampler, seed"}, "ui_reorder_list", ("sampler", "seed")),
        ({"sd_vae_as_default": True}, "sd_vae_overrides_per_model_preferences", False),
    ],
)
def test_keys_of_old_releases_are_translated(path: Path, old: dict, key: str, expected: object):
    path.write_text(json.dumps(old))
    assert getattr(SettingsStore(path).settings, key) == expected


def test_page_defaults_are_kept_in_their_own_file(path: Path):
    store = SettingsStore(path)
    store.update_ui_values({"txt2img/Sampling steps/value": 25})
    store.update_ui_values({"txt2img/Width/value": 768})
    assert dict(SettingsStore(path).ui_values) == {"txt2img/Sampling steps/value": 25, "txt2img/Width/value": 768}
    assert store.ui_path.name == "ui-config.json" and not path.exists()


def test_many_threads_can_change_settings_at_once(path: Path):
    store = SettingsStore(path)
    keys = ["tiling", "save_txt", "grid_save", "return_grid", "send_seed", "samples_save"]
    threads = [threading.Thread(target=store.update, args=({key: not getattr(Settings(), key)},)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(getattr(SettingsStore(path).settings, key) is not getattr(Settings(), key) for key in keys)


def test_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    store = SettingsStore(tmp_path / "new" / "config.json")
    store.path = tmp_path / "file" / "config.json"
    with pytest.raises(OutputError, match=r"config\.json"):
        store.update({"tiling": True})
    assert store.settings.tiling


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_atomically(path, fail)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_leftovers_of_a_killed_process_are_removed_once_they_are_old(tmp_path: Path):
    folder = tmp_path / "2024-03-09"
    folder.mkdir()
    with temporary_file(folder, "x") as fresh:
        old = folder / ".picture.abc.tmp"
        old.touch()
        os.utime(old, (1, 1))
        other = folder / "notes.tmp"
        other.touch()
        os.utime(other, (1, 1))
        assert remove_stale_files(tmp_path) == 1
        assert fresh.exists() and other.exists() and not old.exists()
